// NestJS 12 with Express on Deno, Bun or Node. It has no build step, so decorators are called as functions:
//   node examples/frameworks/nest_express.ts fullchain.pem privkey.pem
import process from "node:process";
import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

class HelloController {
  hello() {
    return "hello\n";
  }
}
Controller()(HelloController);
Get()(HelloController.prototype, "hello", Object.getOwnPropertyDescriptor(HelloController.prototype, "hello")!);

class AppModule {}
Module({ controllers: [HelloController] })(AppModule);

const app = await NestFactory.create(AppModule, { httpsOptions: state.tls, logger: ["warn", "error"] });
attach(state, app.getHttpServer());
await app.listen(process.env["PORT"] ?? 8443);
console.log(`https://localhost:${app.getHttpServer().address().port}/`);
