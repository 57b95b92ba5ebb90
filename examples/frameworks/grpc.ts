// gRPC by @grpc/grpc-js on Deno, Bun or Node. Its credentials are insecure because it gets connections that are
// encrypted already. With protobuf, `service` is what the compiler makes of a .proto file.
//   node examples/frameworks/grpc.ts fullchain.pem privkey.pem
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Buffer } from "node:buffer";
import net, { type AddressInfo } from "node:net";
import process from "node:process";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, alpnProtocols: ["h2"], onSignal: "SIGHUP", logger: console });

const asIs = (message: Buffer) => message;
const coders = { requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs };
const service = { echo: { path: "/example.Echo/Echo", requestStream: true, responseStream: true, ...coders } };
const grpc = new Server();
grpc.addService(service, {
  echo: (call: ServerDuplexStream<Buffer, Buffer>) => {
    call.on("data", (message) => call.write(message)).on("end", () => call.end());
  },
});

const { injectConnection } = grpc.createConnectionInjector(ServerCredentials.createInsecure());
const server = net.createServer((socket) => {
  state.acceptor().accept(socket).then(injectConnection, console.warn);
});
server.listen(Number(process.env["PORT"] ?? 50051), () => {
  console.log(`grpcs://localhost:${(server.address() as AddressInfo).port}/`);
});
