import path from 'node:path'
import { isExecutable, onPath, toolchain, variable } from './locate.ts'
import { missing } from './missing.ts'
import { unpackDebian, unpacked } from './unpack.ts'

const unpackedAt = path.join(toolchain, 'chromium')

/** A browser that is here already: CHROMIUM_BIN, PATH, the usual places, or one unpacked earlier. */
export function findChromium(): string | undefined {
  const applications = [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium'
  ]
  return (
    variable('CHROMIUM_BIN') ??
    onPath(['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'], ['/usr/bin']) ??
    applications.find(isExecutable) ??
    unpacked(unpackedAt)
  )
}

/** The same, but unpacks the distribution's package (about 350 MB) into .toolchain/chromium where none is found. */
export async function ensureChromium(): Promise<string> {
  const found = findChromium()
  if (found !== undefined && !found.startsWith(unpackedAt)) return found
  try {
    return await unpackDebian(unpackedAt, {
      package: 'chromium',
      program: 'usr/lib/chromium/chromium',
      probe: ['--version']
    })
  } catch (error) {
    throw missing(
      { what: 'Chromium', variable: "CHROMIUM_BIN to a browser's program", debian: 'chromium', macos: 'chromium' },
      (error as Error).message
    )
  }
}
