// Certificates from a Kubernetes secret of type kubernetes.io/tls, without a volume: a change arrives at once, where the
// kubelet takes up to a minute. The service account needs the verb `watch` on this secret.
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { TlsConfig } from "@x/tls-reload";

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The API server ends a watch after this time, and `follow()` begins the next. */
const WATCH_S = 3_600;

/** What `data` of the secret holds, in base64. */
type Secret = Readonly<Record<string, string>>;

/** A secret: `new Reloader(state, load).follow(source.secrets, { toConfig: source.toConfig })`. */
export function kubernetesSource(name: string, api = "https://kubernetes.default.svc", account = ACCOUNT) {
  /** A watch without a resource version begins with the secret as it is, so that no change is missed between two. */
  async function* secrets(signal: AbortSignal): AsyncGenerator<Secret> {
    // Kubernetes renews the token and the authority in these files.
    const read = (file: string) => readFile(`${account}/${file}`, "utf8");
    const [ca, token, namespace] = await Promise.all(["ca.crt", "token", "namespace"].map(read));
    const query = `watch=1&fieldSelector=metadata.name%3D${name}&timeoutSeconds=${WATCH_S}`;
    const request = get(`${api}/api/v1/namespaces/${namespace}/secrets?${query}`, {
      ca,
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout((WATCH_S + 60) * 1_000)]),
    });
    const [response] = await once(request, "response") as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`Kubernetes answers ${response.statusCode}`);
    response.socket.setKeepAlive(true, 30_000); // finds a node that is gone
    let rest = "";
    for await (const text of response.setEncoding("utf8")) {
      const lines = `${rest}${text}`.split("\n");
      rest = lines.pop()!;
      for (const { type, object } of lines.map((line) => JSON.parse(line))) {
        if (type === "ERROR") throw new Error(`Kubernetes ends the watch: ${object.message}`);
        if (type !== "DELETED") yield object.data;
      }
    }
  }

  const pem = (base64 = "") => Buffer.from(base64, "base64");
  const toConfig = (data: Secret) => new TlsConfig({ cert: pem(data["tls.crt"]), key: pem(data["tls.key"]) });
  return { secrets, toConfig };
}
