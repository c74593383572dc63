import { build } from 'esbuild'
import { embedded } from './embedded.ts'

/**
 * Bundles a program that a test starts as a process of its own: Node alone does not know what `?worker-text` asks for.
 * `conditions` say what it loads: `@enablement/source` for the sources, none for the built packages.
 */
export async function bundleProgram(entry: string, outfile: string, conditions: readonly string[]): Promise<void> {
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
    conditions: [...conditions],
    plugins: [embedded({ minify: false })]
  })
}
