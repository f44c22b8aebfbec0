/** The files of the web console: how they are cached, compressed and protected. The console must be built. */
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2 } from "../support/http-client.js";

const it = serviceTest();

it("serves the page for each screen, and revalidates it", async ({ service }) => {
  for (const send of [send1, send2]) {
    const pages = await Promise.all(
      ["/", "/console", "/console/buckets/a?key=b"].map((path) => send(service.url, "GET", path)),
    );
    for (const { status, headers, text } of pages) {
      expect([status, headers["cache-control"]]).toEqual([200, "no-cache"]);
      expect(headers["content-security-policy"]).toMatch(
        /^default-src 'none'; script-src 'self'; style-src 'self';/,
      );
      expect(text).toBe(pages[0]?.text);
    }
  }
});

it("lets browsers keep its scripts and styles forever, compressed as they ask", async ({ service }) => {
  const { text } = await send1(service.url, "GET", "/");
  const paths = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? "");
  expect(paths.map((path) => path.split(".").at(-1)).sort()).toEqual(["css", "js"]);
  for (const path of paths) {
    const plain = await send1(service.url, "GET", path);
    expect(plain.headers).toMatchObject({
      "cache-control": "public, max-age=31536000, immutable",
      vary: "accept-encoding",
    });
    const accepting = (coding: string) =>
      send1(service.url, "GET", path, { headers: { "accept-encoding": coding } });
    const gzipped = await accepting("gzip, deflate");
    expect(gzipped.headers["content-encoding"]).toBe("gzip");
    expect(gunzipSync(gzipped.bytes).equals(plain.bytes)).toBe(true);
    const brotli = await accepting("gzip, deflate, br;q=1.0");
    expect(brotli.headers["content-encoding"]).toBe("br");
    expect(brotliDecompressSync(brotli.bytes).equals(plain.bytes)).toBe(true);
    // RFC 9110 section 12.5.3: the star is for every coding that is not named.
    expect((await accepting("br;q=0, *;q=0.1")).headers["content-encoding"]).toBe("gzip");
    expect((await accepting("br;q=0, *;q=0")).headers["content-encoding"]).toBeUndefined();
  }
});

it("needs less than 350 kB of compressed files for its first page", async ({ service }) => {
  const { text } = await send1(service.url, "GET", "/");
  const paths = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? "");
  const sizes = await Promise.all(
    paths.map(async (path) => {
      const { bytes } = await send1(service.url, "GET", path, { headers: { "accept-encoding": "gzip" } });
      return bytes.length;
    }),
  );
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(350_000);
});
