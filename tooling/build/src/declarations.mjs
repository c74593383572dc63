#!/usr/bin/env node
// Emits a package's declarations with the native TypeScript 7 compiler. Run in the package's folder.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import process from 'node:process'

const compiler = path.join(
  path.dirname(createRequire(import.meta.url).resolve('typescript7/package.json')),
  'bin',
  'tsc'
)
const out = path.resolve('dist')
execFileSync(
  process.execPath,
  [
    compiler,
    '-p',
    '.',
    '--noEmit',
    'false',
    '--emitDeclarationOnly',
    '--declaration',
    '--stripInternal',
    '--rootDir',
    'src',
    '--outDir',
    out
  ],
  { stdio: 'inherit' }
)

// The compiler keeps `./x.ts` in declarations; published ones must name the file that ships.
const specifier = /((?:\bfrom|\bimport)\s*\(?\s*)(['"])(\.{1,2}\/[^'"]*?)\.ts\2/g
for (const name of fs.readdirSync(out, { recursive: true })) {
  if (!String(name).endsWith('.d.ts')) continue
  const file = path.join(out, String(name))
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(specifier, '$1$2$3.js$2'))
}
