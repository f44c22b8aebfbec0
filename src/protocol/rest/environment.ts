/** The environment that existing SDKs name. */
import { badRequest } from "./errors.js";

/** Only one environment exists. Throws a 400 for any other. */
export function checkEnvironment(environment: string | string[] | undefined, source: string): void {
  if (environment === undefined || environment === "default") return;
  throw badRequest(`${source} is ${JSON.stringify(String(environment).slice(0, 80))}; it must be "default".`);
}
