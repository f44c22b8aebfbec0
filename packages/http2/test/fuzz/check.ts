/** Judges cases: a description of what is wrong, or undefined. */
import type { FuzzCase } from "./generator.js";
import type { Outcome, Response } from "./outcome.js";
import { hasFailed, run, type Target } from "./servers.js";

export interface Targets {
  readonly ours: Target;
  readonly nodes: Target;
}

/** Any frames: our server must not fail, and must send only what HTTP/2 allows. */
export async function checkFrames({ ours }: Targets, frames: readonly Buffer[]): Promise<string | undefined> {
  ours.problems.length = 0;
  try {
    await run(ours, frames);
  } catch (error) {
    return String(error);
  }
  return ours.problems[0];
}

/** Valid frames, or one violation: both servers must answer alike, and as RFC 9113 says. */
export async function checkCase(targets: Targets, one: FuzzCase): Promise<string | undefined> {
  const { frames, complete, violation } = one;
  targets.ours.problems.length = 0;
  const hasAnswered = (outcome: Outcome): boolean =>
    complete.every((id) => outcome.responses.get(id)?.isEnded === true);
  try {
    const ours = await run(targets.ours, frames, hasAnswered);
    const nodes = await run(targets.nodes, frames, hasAnswered);
    const problem = targets.ours.problems[0];
    if (problem !== undefined) return problem;
    if (violation !== undefined) {
      const wrong = wrongError(one, ours);
      if (wrong !== undefined) return wrong;
      if (violation.nodeAccepts === undefined && !hasError(nodes))
        return `Node's server accepts ${violation.name}.`;
    } else if (hasError(ours) || hasError(nodes))
      return `An error without a violation: ours ${describe(ours)}; Node's ${describe(nodes)}.`;
    if (violation?.scope === "connection" || hasFailed(nodes)) return undefined;
    for (const id of complete) {
      const [our, node] = [
        describeResponse(ours.responses.get(id)),
        describeResponse(nodes.responses.get(id)),
      ];
      if (our !== node) return `The responses on stream ${id} differ: ours ${our}, Node's ${node}.`;
    }
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function wrongError({ violation }: FuzzCase, ours: Outcome): string | undefined {
  if (violation === undefined) return undefined;
  const codes = [...ours.responses.values()]
    .map(({ resetCode }) => resetCode ?? 0)
    .filter((code) => code > 0);
  const isRight =
    violation.scope === "connection"
      ? ours.goAwayCode === violation.code
      : (ours.goAwayCode ?? 0) === 0 && codes.length === 1 && codes[0] === violation.code;
  return isRight
    ? undefined
    : `${violation.name} must be a ${violation.scope} error ${violation.code}; our server says: ${describe(ours)}.`;
}

const hasError = (outcome: Outcome): boolean =>
  hasFailed(outcome) || [...outcome.responses.values()].some(({ resetCode }) => (resetCode ?? 0) > 0);

function describe(outcome: Outcome): string {
  const streams = [...outcome.responses].map(([id, response]) => `${id}: ${describeResponse(response)}`);
  return `GOAWAY ${outcome.goAwayCode ?? "none"}; ${streams.join("; ")}`;
}

/** The fields in order of their names: both servers may choose the order. */
function describeResponse(response: Response | undefined): string {
  if (response === undefined) return "none";
  const fields: string[] = [];
  for (let at = 0; at < response.fields.length; at += 2) {
    const [name = "", value = ""] = response.fields.slice(at, at + 2);
    if (name !== "date") fields.push(`${name}=${value}`);
  }
  const trailers = response.trailers?.join("=") ?? "none";
  const end = response.isEnded ? "ended" : "not ended";
  const reset = response.resetCode === undefined ? "" : `, reset ${response.resetCode}`;
  return `{${fields.sort().join(", ")}} ${response.body} bytes, trailers ${trailers}, ${end}${reset}`;
}
