/** Reads Prometheus's text format. */

export interface Scrape {
  /** What is declared: names without the suffixes of histograms. */
  readonly names: ReadonlySet<string>;
  /** The sum of the samples of this name that have all these labels; undefined: there is none. */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined;
  readonly text: string;
}

export async function scrape(url: string, key?: string): Promise<Scrape> {
  const headers: Record<string, string> = { connection: "close" };
  if (key !== undefined) headers.authorization = `Bearer ${key}`;
  const answer = await fetch(`${url}/metrics`, { headers });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${answer.status}: ${text}`);
  return parse(text);
}

function parse(text: string): Scrape {
  const names = new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name));
  const samples = [...text.matchAll(/^([a-z0-9_]+)(?:\{(.*)\})? (\S+)$/gm)].map(
    ([, name, labels = "", value]) => ({
      name,
      labels: Object.fromEntries(
        [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = "", text = ""]) => [label, text]),
      ),
      value: Number(value),
    }),
  );
  return {
    names,
    text,
    value(name, labels = {}) {
      const found = samples.filter(
        (sample) =>
          sample.name === name &&
          Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
      );
      return found.length === 0 ? undefined : found.reduce((total, { value }) => total + value, 0);
    },
  };
}
