// Loaded into the service before its own code: tells the memory that is in use once the garbage is gone, whenever it is asked.
process.on("message", () => {
  globalThis.gc();
  process.send(process.memoryUsage());
});
// Being asked is no reason to go on running.
process.channel?.unref();
