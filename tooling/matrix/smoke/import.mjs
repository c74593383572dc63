/** An application in ES modules on the installed packages. Loads every published entry, then proves. */
import process from 'node:process'
import * as modules from './modules.mjs'
import { proofs } from './proofs.mjs'

for (const name of JSON.parse(process.env['ENTRIES'])) await import(name)
const settings = { redisUrl: process.env['REDIS_URL'], tenant: process.env['TENANT'] }
for (const prove of Object.values(proofs)) await prove(modules, settings)
