import path from 'node:path'
import { onPath, toolchain, variable } from './locate.ts'
import { missing } from './missing.ts'
import { unpackDebian, unpacked } from './unpack.ts'

const unpackedAt = path.join(toolchain, 'bubblewrap')

/** A bwrap that is here already: BWRAP_BIN, PATH, the usual places, or one unpacked earlier. Linux has it, others never. */
export function findBubblewrap(): string | undefined {
  return variable('BWRAP_BIN') ?? onPath(['bwrap'], ['/usr/bin', '/usr/local/bin']) ?? unpacked(unpackedAt)
}

/** The same, but unpacks the distribution's package into .toolchain/bubblewrap where none is found. */
export async function ensureBubblewrap(): Promise<string> {
  const found = findBubblewrap()
  if (found !== undefined && !found.startsWith(unpackedAt)) return found
  try {
    return await unpackDebian(unpackedAt, { package: 'bubblewrap', program: 'usr/bin/bwrap', probe: ['--version'] })
  } catch (error) {
    throw missing(
      {
        what: 'bubblewrap',
        variable: 'BWRAP_BIN to a bwrap program',
        debian: 'bubblewrap',
        macos: 'bubblewrap, which there is none of'
      },
      (error as Error).message
    )
  }
}
