// grpc-js: answers Get with the request's own bytes.
import { Server, ServerCredentials } from "@grpc/grpc-js";

const same = (bytes) => bytes;
const definition = {
  get: {
    path: "/ironflow.kv.v1.KeyValueService/Get",
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  },
};
const server = new Server();
server.addService(definition, { get: (call, done) => done(null, call.request) });
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
