import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { isExecutable, onPath, toolchain, variable } from './locate.ts'
import { missing } from './missing.ts'
import { keep, output, unpackDebian, unpacked, works } from './unpack.ts'

const unpackedAt = path.join(toolchain, 'chromium')
const probe = ['--version']

/** A browser of the machine's own: on PATH or in the usual places. */
function installedChromium(): string | undefined {
  const applications = [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium'
  ]
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
  return onPath(names, ['/usr/bin']) ?? applications.find(isExecutable)
}

/** A browser that is here already: CHROMIUM_BIN, PATH, the usual places, or one unpacked earlier. */
export function findChromium(): string | undefined {
  return variable('CHROMIUM_BIN') ?? installedChromium() ?? unpacked(unpackedAt)
}

/**
 * A browser that starts: the one that CHROMIUM_BIN names; else the machine's own; else the one from npm (Linux on x64,
 * 210 MB under .toolchain/chromium, one second once); else the distribution's package, unpacked there without root.
 */
export async function ensureChromium(): Promise<string> {
  const given = variable('CHROMIUM_BIN')
  if (given !== undefined) return given
  const installed = installedChromium()
  // Ubuntu's `chromium-browser` may be a script that only says to install a snap.
  if (installed !== undefined && (await works(installed, probe))) return installed
  const reasons: string[] = []
  for (const unpack of [unpackFromNpm, unpackFromDebian]) {
    try {
      return await unpack()
    } catch (error) {
      reasons.push((error as Error).message)
    }
  }
  throw missing(
    { what: 'Chromium', variable: "CHROMIUM_BIN to a browser's program", debian: 'chromium', macos: 'chromium' },
    reasons.join('; ')
  )
}

const unpackFromDebian = (): Promise<string> =>
  unpackDebian(unpackedAt, { package: 'chromium', program: 'usr/lib/chromium/chromium', probe })

/** `@sparticuz/chromium`: a headless build that needs glibc 2.25 and brings NSS and fonts for machines without. */
async function unpackFromNpm(): Promise<string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`npm has none for ${process.platform} on ${process.arch}`)
  }
  return await keep(unpackedAt, probe, async (tree) => {
    const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium')
    // It writes into the folder for temporary files, under fixed names: in a process of its own, that folder is ours.
    const script = `import chromium from ${JSON.stringify(pathToFileURL(entry).href)}; await chromium.executablePath()`
    // The name of a Lambda makes it unpack the libraries as well.
    const env = { ...process.env, TMPDIR: tree, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x' }
    await output(process.execPath, ['--input-type=module', '--eval', script], tree, env)
    writeFileSync(
      path.join(tree, 'fonts.conf'),
      '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>' +
        '<dir prefix="relative">fonts/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>'
    )
    return {
      program: 'chromium',
      libraries: (await works(path.join(tree, 'chromium'), probe)) ? [] : ['al2023/lib'],
      before: '[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE="$here/fonts.conf"\n'
    }
  })
}
