// NestJS 12 with Fastify on Deno, Bun or Node. It has no build step, so decorators are called as functions:
//   node examples/frameworks/nest_fastify.ts fullchain.pem privkey.pem
import process from "node:process";
import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { FastifyAdapter } from "@nestjs/platform-fastify";
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

const adapter = new FastifyAdapter({ https: state.tls });
const app = await NestFactory.create(AppModule, adapter, { logger: ["warn", "error"] });
attach(state, app.getHttpServer());
// Without a host, Fastify would listen on each address of localhost by a server of its own.
await app.listen(process.env["PORT"] ?? 8443, "0.0.0.0");
console.log(`https://localhost:${app.getHttpServer().address().port}/`);
