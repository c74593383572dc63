import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

const blockBytes = 512

/** The files of an npm tarball by their path inside the package. npm and pnpm write plain ustar, at times with PAX. */
export function filesIn(tarball: string): Map<string, Buffer> {
  const archive = gunzipSync(readFileSync(tarball))
  const files = new Map<string, Buffer>()
  const text = (from: number, bytes: number): string =>
    archive
      .subarray(from, from + bytes)
      .toString('utf8')
      .replace(/\0.*$/s, '')
  let longName: string | undefined
  for (let at = 0; at + blockBytes <= archive.length && archive[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8)
    const type = text(at + 156, 1)
    const prefix = text(at + 345, 155)
    const content = archive.subarray(at + blockBytes, at + blockBytes + size)
    if (type === 'x') longName = / path=(.*)\n/.exec(content.toString('utf8'))?.[1]
    else if (type === '0' || type === '') {
      const name = longName ?? (prefix === '' ? text(at, 100) : `${prefix}/${text(at, 100)}`)
      files.set(name.replace(/^package\//, ''), Buffer.from(content))
      longName = undefined
    }
    at += blockBytes + Math.ceil(size / blockBytes) * blockBytes
  }
  return files
}
