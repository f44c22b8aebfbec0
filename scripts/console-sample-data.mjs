// Buckets and keys for screenshots of the console.
const BUCKETS = [
  { name: "sessions", description: "Sessions of the web shop", ttl_seconds: 3_600, history: 1 },
  {
    name: "feature-flags",
    description: "Switches that operators change",
    history: 10,
    max_value_size: 65_536,
  },
  { name: "inventory", description: "Stock by warehouse", history: 5, max_bytes: 17_000_000 },
  { name: "device-state", ttl_seconds: 604_800, history: 3, max_bytes: 1_000_000_000 },
  { name: "empty" },
];

export async function seed(url) {
  const base = `${url}/api/v1/kv/buckets`;
  const send = async (path, method, body, type = "application/json") => {
    const response = await fetch(`${base}${path}`, { method, body, headers: { "content-type": type } });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  };
  const put = (bucket, key, value, type) =>
    send(
      `/${bucket}/keys/${encodeURIComponent(key)}`,
      "PUT",
      typeof value === "string" ? value : JSON.stringify(value),
      type,
    );
  for (const bucket of BUCKETS) await send("", "POST", JSON.stringify(bucket));
  const flag = (enabled, percent) => ({
    enabled,
    rollout: { percent, regions: ["eu-west", "us-east"] },
    owner: "checkout-team",
  });
  for (const percent of [0, 5, 25, 60])
    await put("feature-flags", "checkout.one-click", flag(percent > 0, percent));
  for (const name of [
    "search.autocomplete",
    "search.typo-tolerance",
    "checkout.gift-cards",
    "cart.recommendations",
    "login.passkeys",
  ])
    await put("feature-flags", name, flag(true, 100));
  await put("feature-flags", " leading-space", "a key that begins with a space", "text/plain");
  await put(
    "feature-flags",
    "banner.\u202etxt.exe",
    "a key with a character that reverses text",
    "text/plain",
  );
  for (let number = 0; number < 400; number++)
    await put(
      "inventory",
      `warehouse.${["ber", "lon", "nyc", "sfo"][number % 4]}.sku-${10_000 + number * 37}`,
      { stock: (number * 7) % 120 },
    );
  for (let number = 0; number < 30; number++)
    await put("sessions", `user.${1_000 + number}`, { user: 1_000 + number, cart: [] });
  for (let number = 0; number < 12; number++)
    await put("device-state", `sensor-${number}.temperature`, String(20 + number / 2), "text/plain");
}

/** Changes a few sessions, for the live feed. */
export async function change(url) {
  const keys = `${url}/api/v1/kv/buckets/sessions/keys`;
  for (let number = 0; number < 12; number++) {
    const body = JSON.stringify({ user: 1_000 + number, cart: [`sku-${10_000 + number}`] });
    await fetch(`${keys}/user.${1_000 + number}`, {
      method: "PUT",
      body,
      headers: { "content-type": "application/json" },
    });
  }
  await fetch(`${keys}/user.1003`, { method: "DELETE" });
}
