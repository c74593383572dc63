import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { securityHeaders } from './answer.ts'
import clientText from './client.js?worker-text'
import { stylesheet } from './stylesheet.ts'

/** Where the pages of an inbox find what they are made of. */
export interface AssetPaths {
  readonly script: string
  readonly style: string
  readonly icon: string
}

export interface Assets {
  readonly paths: AssetPaths
  /** The file of that name, or undefined. */
  answer(name: string): Response | undefined
}

const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#2b4a3f"/>' +
  '<path d="M4 8.5 7 11.5 12 5" fill="none" stroke="#fff" stroke-width="2"/></svg>'

/** A name tells the content, so that a browser may keep it for ever and never has an old script with a new page. */
const named = (stem: string, extension: string, text: string): string =>
  `${stem}.${bytesToHex(sha256(utf8ToBytes(text))).slice(0, 16)}.${extension}`

/** The script, the style sheet and the icon, served by the inbox itself: it needs nothing from elsewhere. */
export function assetsAt(basePath: string): Assets {
  // Classic scripts share one scope.
  const script = `(() => {\n${clientText}\n})()\n`
  const names = {
    script: named('inbox', 'js', script),
    style: named('inbox', 'css', stylesheet),
    icon: named('icon', 'svg', ICON)
  }
  const files: ReadonlyMap<string, readonly [string, string]> = new Map([
    [names.script, ['text/javascript; charset=utf-8', script]],
    [names.style, ['text/css; charset=utf-8', stylesheet]],
    [names.icon, ['image/svg+xml', ICON]]
  ])
  const at = (name: string): string => `${basePath}/assets/${name}`
  return {
    paths: { script: at(names.script), style: at(names.style), icon: at(names.icon) },
    answer(name) {
      const file = files.get(name)
      if (file === undefined) return undefined
      const [type, text] = file
      const headers = {
        ...securityHeaders,
        'content-type': type,
        'cache-control': 'public, max-age=31536000, immutable'
      }
      return new Response(text, { headers })
    }
  }
}
