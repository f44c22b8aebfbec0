// The dashboard: buckets on the left, the keys of the selected bucket on the right, updated by a watch. It uses the public REST paths and
// WebSocket.

const SHOWN_MAX = 500;
const VALUE_CHARACTERS_MAX = 200;
const RECONNECT_MS = 1_000;
const REFRESH_MS = 5_000;

const element = (id) => document.getElementById(id);
const entries = new Map();
let bucket = "";
let socket;

const apiKey = element("api-key");
apiKey.value = sessionStorage.getItem("api-key") ?? "";
apiKey.addEventListener("change", () => {
  sessionStorage.setItem("api-key", apiKey.value);
  start();
});
element("filter").addEventListener("change", () => watch());

async function start() {
  await showBuckets();
  if (bucket !== "") watch();
}

async function showBuckets() {
  try {
    const headers = apiKey.value === "" ? {} : { Authorization: `Bearer ${apiKey.value}` };
    const response = await fetch("/api/v1/kv/buckets", { headers });
    const body = await response.json();
    if (!response.ok) throw new Error(body.error);
    element("buckets").replaceChildren(...body.buckets.map(bucketItem));
    showError("");
  } catch (error) {
    showError(error.message);
  }
}

function bucketItem({ name, values, bytes }) {
  const button = document.createElement("button");
  button.textContent = `${name} (${values} keys, ${bytes} B)`;
  button.setAttribute("aria-current", String(name === bucket));
  button.addEventListener("click", () => {
    bucket = name;
    watch();
    showBuckets();
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

/** Shows the bucket's current values, then each change. Reconnects when the watch ends. */
function watch() {
  socket?.close();
  entries.clear();
  showKeys();
  if (bucket === "") return;
  element("bucket-title").textContent = bucket;
  const url = new URL(`/api/v1/kv/buckets/${encodeURIComponent(bucket)}/watch`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (element("filter").value !== "") url.searchParams.set("key", element("filter").value);
  const current = new WebSocket(
    url,
    apiKey.value === "" ? [] : ["ironflow", `bearer.${base64Url(apiKey.value)}`],
  );
  socket = current;
  current.addEventListener("message", ({ data }) => applyFrame(JSON.parse(data)));
  current.addEventListener("open", () => (element("live").textContent = "live"));
  current.addEventListener("close", () => {
    if (socket !== current) return;
    element("live").textContent = "reconnecting";
    setTimeout(() => socket === current && watch(), RECONNECT_MS);
  });
}

function applyFrame(frame) {
  if (frame.type === "error") return showError(frame.message);
  if (frame.operation === "put") entries.set(frame.key, frame);
  else entries.delete(frame.key);
  scheduleRender();
}

let isScheduled = false;
function scheduleRender() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    showKeys();
  });
}

function showKeys() {
  const shown = [...entries.values()]
    .sort((left, right) => (left.key < right.key ? -1 : 1))
    .slice(0, SHOWN_MAX);
  element("keys").replaceChildren(
    ...shown.map((entry) => {
      const row = document.createElement("tr");
      for (const text of [entry.key, entry.revision, readable(entry.value)]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    }),
  );
}

function readable(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text;
  } catch {
    return `${bytes.length} bytes`;
  }
}

function base64Url(text) {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function showError(message) {
  element("problem").hidden = message === "";
  element("problem").textContent = message;
}

start();
setInterval(showBuckets, REFRESH_MS);
