import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { isExecutable, onPath } from './locate.ts'

export interface DebianProgram {
  /** Debian package whose files (and whose uninstalled dependencies' files) are unpacked. */
  readonly package: string
  /** The program inside the unpacked tree, relative to it: `usr/bin/redis-server`. */
  readonly program: string
  /** Arguments that make the program prove it can load, and exit 0. */
  readonly probe: readonly string[]
}

/** Ends with the output of a command, or rejects with the last line it wrote to stderr. */
export async function output(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env
): Promise<string> {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const written = { out: '', err: '' }
  child.stdout.on('data', (chunk: Buffer) => {
    written.out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    written.err = (written.err + chunk.toString()).slice(-4000)
  })
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(written.out)
      else reject(new Error(written.err.trim().split('\n').at(-1) ?? `${path.basename(command)} exited with ${code}`))
    })
  })
}

/** Whether a program can load and exits with 0. */
export async function works(program: string, probe: readonly string[]): Promise<boolean> {
  return await output(program, probe, '/').then(
    () => true,
    () => false
  )
}

/** apt with every state of its own, so that it needs no root, takes no lock and leaves the system as it was. */
async function download(packageName: string, scratch: string, refresh: boolean): Promise<string[]> {
  const lists = path.join(scratch, 'lists')
  const debs = path.join(scratch, refresh ? 'fresh' : 'known')
  for (const folder of [path.join(lists, 'partial'), path.join(scratch, 'cache/archives/partial'), debs]) {
    mkdirSync(folder, { recursive: true })
  }
  const options = ['-qq', '-o', `Dir::Cache=${scratch}/cache`, '-o', 'Debug::NoLocking=1']
  options.push('-o', 'APT::Sandbox::User=root')
  if (refresh) {
    options.push('-o', `Dir::State::lists=${lists}`)
    await output('apt-get', [...options, 'update'], scratch)
  }
  const plan = await output('apt-get', [...options, '-s', '--no-install-recommends', 'install', packageName], scratch)
  const names = [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] as string)
  // An installed package whose program is off PATH plans nothing; its own file is still wanted.
  await output('apt-get', [...options, 'download', ...(names.length === 0 ? [packageName] : names)], debs)
  return readdirSync(debs).map((name) => path.join(debs, name))
}

/** Removes what runs that were killed half-way left beside the target. */
function sweep(target: string): void {
  const parent = path.dirname(target)
  for (const name of readdirSync(parent)) {
    const owner = new RegExp(`^${path.basename(target)}\\.unpacking-(\\d+)$`).exec(name)?.[1]
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue
    rmSync(path.join(parent, name), { recursive: true, force: true })
  }
}

/** Where `unpackDebian` put the program, if it did. */
export function unpacked(target: string): string | undefined {
  const launcher = path.join(target, 'launch')
  return isExecutable(launcher) ? launcher : undefined
}

const underWay = new Map<string, Promise<string>>()

/** What `keep` runs: a program of the tree, and the folders of the tree with libraries that the system may lack. */
interface Contents {
  /** Relative to the tree. */
  readonly program: string
  readonly libraries: readonly string[]
  /** Lines of shell that the launcher begins with; `$here` is the tree. */
  readonly before?: string
}

/**
 * Keeps a program at `target`, with a launcher that finds its libraries. Two runs may do this at once: each works in a
 * folder of its own and the first to rename it into place wins. Callers within one process share one attempt.
 * `fill` puts the files into `tree`; `scratch`, beside it, is thrown away.
 */
export function keep(
  target: string,
  probe: readonly string[],
  fill: (tree: string, scratch: string) => Promise<Contents>
): Promise<string> {
  const attempt = underWay.get(target) ?? attemptToKeep(target, probe, fill).finally(() => underWay.delete(target))
  underWay.set(target, attempt)
  return attempt
}

async function attemptToKeep(
  target: string,
  probe: readonly string[],
  fill: (tree: string, scratch: string) => Promise<Contents>
): Promise<string> {
  const cached = unpacked(target)
  // A kept tree may have come along from another machine, whose libraries differ.
  if (cached !== undefined && (await works(cached, probe))) return cached
  mkdirSync(path.dirname(target), { recursive: true })
  sweep(target)
  const scratch = `${target}.unpacking-${process.pid}`
  rmSync(scratch, { recursive: true, force: true })
  try {
    const tree = path.join(scratch, 'tree')
    mkdirSync(tree, { recursive: true })
    const { program, libraries, before = '' } = await fill(tree, scratch)
    const search = libraries.map((folder) => `$here/${folder}`).join(':')
    const searching =
      search === '' ? '' : `LD_LIBRARY_PATH="${search}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\nexport LD_LIBRARY_PATH\n`
    writeFileSync(
      path.join(tree, 'launch'),
      `#!/bin/sh\nhere=$(cd "$(dirname "$0")" && pwd)\n${before}${searching}exec "$here/${program}" "$@"\n`
    )
    chmodSync(path.join(tree, 'launch'), 0o755)
    if (!(await works(path.join(tree, 'launch'), probe))) throw new Error(`the unpacked ${program} does not run`)
    if (cached !== undefined) rmSync(target, { recursive: true, force: true })
    try {
      renameSync(tree, target)
    } catch (error) {
      // Another run was first: its tree is as good as this one.
      if (unpacked(target) === undefined) throw error
    }
    return path.join(target, 'launch')
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/**
 * Unpacks a distribution's package (Debian and its kin) without installing it: nothing outside `target` changes.
 * Returns a launcher that finds the unpacked libraries.
 *
 * Throws where there is no apt, no network, or the package holds no such program (Ubuntu's chromium is a snap).
 */
export function unpackDebian(target: string, wanted: DebianProgram): Promise<string> {
  return keep(target, wanted.probe, async (tree, scratch) => {
    if (onPath(['apt-get']) === undefined || onPath(['dpkg-deb']) === undefined) {
      throw new Error('no apt-get here to unpack it with')
    }
    // The machine's own package lists are often there and often good enough; fresh ones cost seconds.
    const debs = await download(wanted.package, scratch, false).catch(() => download(wanted.package, scratch, true))
    for (const deb of debs) await output('dpkg-deb', ['-x', deb, tree], scratch)
    if (!isExecutable(path.join(tree, wanted.program))) {
      throw new Error(`the package ${wanted.package} holds no ${wanted.program}`)
    }
    // Some packages keep their private libraries a folder deeper, where the system's search path would not look either.
    const libraries = readdirSync(tree, { recursive: true, encoding: 'utf8' })
      .filter((name) => /(^|\/)lib\/.*\.so(\.|$)/.test(name))
      .map((name) => path.dirname(name))
    return { program: wanted.program, libraries: [...new Set(libraries)] }
  })
}
