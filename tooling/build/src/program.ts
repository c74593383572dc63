import path from 'node:path'
import process from 'node:process'
import { build } from 'esbuild'
import { embedded } from './embedded.ts'

/**
 * Bundles a program that a test starts as a process of its own into `folder`, with what this test loads: the sources, or
 * the built packages. Node alone does not know what `?worker-text` asks for, and starts a bundle in a quarter of the time
 * that the single files take. Gives the bundle's path.
 */
export async function bundledProgram(entry: string, folder: string): Promise<string> {
  const outfile = path.join(folder, path.basename(entry).replace(/ts$/, 'mjs'))
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node22',
    // What is CommonJS asks for Node's modules by a `require` that a module does not have.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url)"
    },
    logLevel: 'error',
    conditions: process.env['TARGET'] === 'dist' ? [] : ['@enablement/source'],
    plugins: [embedded({ minify: false })]
  })
  return outfile
}
