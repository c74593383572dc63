import { basename, join } from 'node:path'
import { bundleProgram } from '@enablement/build/program'

/**
 * Bundles a child's program into `folder`, with what this test loads: the sources, or the built package. Node starts a
 * bundle in a quarter of the time that the single files take.
 */
export async function bundledChild(entry: string, folder: string): Promise<string> {
  const outfile = join(folder, basename(entry).replace(/ts$/, 'mjs'))
  const conditions = process.env['TARGET'] === 'dist' ? [] : ['@enablement/source']
  await bundleProgram(entry, outfile, conditions)
  return outfile
}
