// Mail by smtp-server on Deno, Bun or Node, with implicit TLS and with STARTTLS:
//   node examples/frameworks/smtp_server.ts fullchain.pem privkey.pem
import net, { type AddressInfo } from "node:net";
import process from "node:process";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });
const options: SMTPServerOptions = {
  authOptional: true,
  disableReverseLookup: true,
  onData: (message, _session, done) => void message.resume().once("end", done),
};

// Implicit TLS: the state accepts, and `secured` says that smtp-server need not.
const implicit = new SMTPServer({ ...options, secure: true, secured: true });
implicit.on("error", console.warn);
const submissions = net.createServer((socket) => {
  state.acceptor().accept(socket).then((secure) => implicit.connect(secure), console.warn);
});
submissions.listen(Number(process.env["PORT"] ?? 465), () => {
  console.log(`smtps://localhost:${(submissions.address() as AddressInfo).port}/`);
});

// STARTTLS: smtp-server makes the handshakes itself, and cannot leave them to the state. So neither `clientAuth` nor
// `drain` of the state nor several certificates work here. Clients with certificates belong on the port above.
// The versions are always set, because the default of smtp-server is TLS 1.0.
const starttlsOptions = () => ({ minVersion: "TLSv1.2", maxVersion: "TLSv1.3", ...state.tls }) as const;
const starttls = new SMTPServer({ ...options, ...starttlsOptions() });
starttls.on("error", console.warn);
state.subscribe(() => starttls.updateSecureContext(starttlsOptions()));
const transfers = starttls.listen(Number(process.env["STARTTLS_PORT"] ?? 587), () => {
  console.log(`smtp://localhost:${(transfers.address() as AddressInfo).port}/`);
});
