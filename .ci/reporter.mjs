// A vitest reporter for .ci/run: writes the counts, the files with failures, and the name and first line of each failure.
import { writeFileSync } from "node:fs";

const firstLine = (error) =>
  String(error?.message ?? error)
    .split("\n", 1)[0]
    .slice(0, 300);
const nameOf = (test) => `${test.module.relativeModuleId} > ${test.fullName}`;

export default class CiReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    const files = new Set();
    const lines = unhandledErrors.map((error) => `FAILED outside of the tests: ${firstLine(error)}`);
    for (const module of modules) {
      const suites = [module, ...module.children.allSuites()];
      for (const suite of suites)
        for (const error of suite.errors()) {
          files.add(module.relativeModuleId);
          lines.push(`FAILED to set up: ${suite.fullName ?? module.relativeModuleId}: ${firstLine(error)}`);
        }
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result();
        if (state in counts) counts[state]++;
        if (state !== "failed") continue;
        files.add(module.relativeModuleId);
        lines.push(`FAILED: ${nameOf(test)}: ${firstLine(errors[0])}`);
      }
    }
    writeFileSync(
      process.env.CI_REPORT,
      [`${counts.passed} ${counts.failed} ${counts.skipped}`, [...files].join(" "), ...lines, ""].join("\n"),
    );
  }
}
