import { join } from 'node:path'
import { embeddedInVite } from '@enablement/build/vite'
import { build } from 'esbuild'

/**
 * Bundles a child's program with what this test loads: the sources, or the built package. Node alone does not know what
 * `?worker-text` asks for.
 */
export async function bundledChild(name: string, folder: string): Promise<string> {
  const outfile = join(folder, `${name}.mjs`)
  const worker = embeddedInVite()
  await build({
    entryPoints: [join(import.meta.dirname, `${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node22',
    logLevel: 'error',
    conditions: process.env['TARGET'] === 'dist' ? [] : ['@enablement/source'],
    plugins: [
      {
        name: 'worker-text',
        setup(esbuild) {
          esbuild.onResolve({ filter: /\?worker-text$/ }, (found) => {
            const id = worker.resolveId(found.path, found.importer)
            return id === undefined ? undefined : { path: id, namespace: 'worker-text' }
          })
          esbuild.onLoad({ filter: /.*/, namespace: 'worker-text' }, async (found) => ({
            contents: (await worker.load(found.path)) ?? ''
          }))
        }
      }
    ]
  })
  return outfile
}
