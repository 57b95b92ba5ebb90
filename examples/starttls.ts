// STARTTLS as in SMTP, on any runtime. Where a protocol allows bytes after the command, return them with
// socket.unshift() before accept().
//   deno run -A examples/starttls.ts fullchain.pem privkey.pem    (or bun, or node)
import net, { type AddressInfo } from "node:net";
import process from "node:process";
import { loadTlsConfig, TlsState } from "@x/tls-reload";

const [certPath = "fullchain.pem", keyPath = "privkey.pem"] = process.argv.slice(2);
const state = new TlsState(await loadTlsConfig(certPath, keyPath));

const server = net.createServer((socket) => {
  socket.write("220 mail.example.com ESMTP\r\n");
  socket.on("error", () => {});
  socket.once("data", (bytes) => {
    if (bytes.toString() !== "STARTTLS\r\n") return socket.end("502 only STARTTLS here\r\n"); // RFC 3207 section 4.2
    socket.pause();
    socket.write("220 go ahead\r\n", async () => {
      const secure = await state.acceptor().accept(socket).catch(console.warn);
      secure?.end("221 bye\r\n");
    });
  });
});
server.listen(Number(process.env["PORT"] ?? 2525), () => {
  console.log(`smtp://localhost:${(server.address() as AddressInfo).port}/`);
});
