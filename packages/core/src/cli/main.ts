#!/usr/bin/env node
import process from 'node:process'
import { verifyAuditCommand } from './verify-audit.ts'

const [command, ...rest] = process.argv.slice(2)

if (command === 'verify-audit') {
  // Set and not exited with: what was written to a pipe must get there.
  process.exitCode = await verifyAuditCommand(rest)
} else {
  process.stderr.write('usage: npx @enablement/core verify-audit <database> [options]\n')
  process.exitCode = 2
}
