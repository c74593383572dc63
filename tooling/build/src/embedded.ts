import { readFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { build, type Plugin } from 'esbuild'

/** Bundles a worker's entry and all it imports into one CommonJS text that `new Worker(text, { eval: true })` runs. */
export async function bundleWorker(entry: string, minify: boolean): Promise<string> {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node22',
    conditions: ['@enablement/source'],
    minify,
    legalComments: 'none'
  })
  const [file] = result.outputFiles
  if (file === undefined) throw new Error(`esbuild wrote nothing for ${entry}`)
  return file.text
}

/** The suffix that asks for a worker's bundled text: `import source from './guest-worker.ts?worker-text'`. */
export const workerText = /\?worker-text$/

/**
 * Brings `.lua` scripts and workers in as text, so that they work from sources, from `dist`, from a packed tarball and
 * from a bundled application alike: no file has to be found at run time.
 */
export function embedded(options: { minify: boolean }): Plugin {
  return {
    name: 'embedded',
    setup(esbuild) {
      esbuild.onLoad({ filter: /\.lua$/ }, async ({ path }) => ({
        contents: await readFile(path, 'utf8'),
        loader: 'text'
      }))
      // esbuild writes a module's `path` into its output as a comment; the absolute one must not be published.
      esbuild.onResolve({ filter: workerText }, (found) => {
        const entry = path.resolve(found.resolveDir, found.path.replace(workerText, ''))
        return { path: path.relative(process.cwd(), entry), namespace: 'worker-text', pluginData: { entry } }
      })
      esbuild.onLoad({ filter: /.*/, namespace: 'worker-text' }, async ({ pluginData }) => ({
        contents: await bundleWorker((pluginData as { readonly entry: string }).entry, options.minify),
        loader: 'text'
      }))
    }
  }
}
