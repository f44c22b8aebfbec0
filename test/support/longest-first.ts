/** The order of test files: those that take longest begin first, so that none runs alone at the end. */
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take more than ten seconds on an idle machine, most of them waiting, the longest first. */
const LONG_FILES = [
  "test/api/keys.test.ts",
  "test/nats/store-cluster.test.ts",
  "test/nats/store-cluster-restart.test.ts",
  "test/hostile/memory-peaks-bodies.test.ts",
  "test/clients/matrix.test.ts",
  "test/clients/openapi.test.ts",
  "test/nats/outside-storage.test.ts",
  "test/nats/store-expiry.test.ts",
  "test/nats/store-consistency.test.ts",
  "test/faults/power-cut/power-cut.test.ts",
  "test/faults/full-disk.test.ts",
  "test/nats/large-buckets.test.ts",
  "test/nats/heavy-readers.test.ts",
  "test/browser/console.test.ts",
  "test/api/watch.test.ts",
  "test/nats/store-full.test.ts",
  "test/nats/bucket-changes.test.ts",
  "test/faults/cluster.test.ts",
  "test/nats/store-expiry-deleted.test.ts",
  "test/faults/answers-lost.test.ts",
  "test/faults/full-disk-calls.test.ts",
  "test/hostile/aftermath.test.ts",
  "test/cli/backup-interrupted.test.ts",
  "test/nats/connect.test.ts",
  "test/nats/store-durability.test.ts",
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    // A worker runs the files of one project: keep them together.
    const projects = [...new Set(files.map(({ project }) => project))].sort(
      (a, b) => countOf(files, b) - countOf(files, a),
    );
    return projects.flatMap((project) => {
      const own = sorted.filter((file) => file.project === project);
      return own.sort((a, b) => rankOf(a) - rankOf(b));
    });
  }
}

function countOf(files: readonly TestSpecification[], of: TestSpecification["project"]): number {
  return files.filter(({ project }) => project === of).length;
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = LONG_FILES.findIndex((file) => moduleId.endsWith(`/${file}`));
  return rank === -1 ? LONG_FILES.length : rank;
}
