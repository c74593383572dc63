/** An application that esbuild makes one file of. What no bundler can find by itself, the engine's bytes, it brings. */
import process from 'node:process'
import wasm from 'quickjs-wasi/quickjs.wasm'
import * as modules from './modules.mjs'
import { proofs } from './proofs.mjs'

const settings = { redisUrl: process.env['REDIS_URL'], tenant: process.env['TENANT'], wasm }
for (const prove of Object.values(proofs)) await prove(modules, settings)
