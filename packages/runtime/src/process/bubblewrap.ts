import { accessSync, constants, existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { EGRESS_PORT } from './guest-protocol.ts'

/** Where the guest writes, as it sees it. */
export const WORKSPACE = '/workspace'

/** Descriptor on which bwrap says who the first process inside is. */
export const STATUS_FD = 4

const EGRESS_SOCKET = '/run/egress.sock'

/** Where Node is inside, when it is not in a folder that is there anyway. */
const NODE_FOLDER = '/opt/node'

/** What programs need of the machine: itself, its libraries, names of time zones and certificates. Never home folders. */
const SYSTEM_PATHS = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']
const SETTINGS_PATHS = [
  '/etc/ld.so.cache',
  '/etc/alternatives',
  '/etc/localtime',
  '/etc/nsswitch.conf',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/pki/tls/certs',
  '/etc/pki/ca-trust/extracted',
  '/etc/ca-certificates'
]

export interface BubblewrapOptions {
  readonly bwrap: string
  readonly node: string
  readonly diskLimitBytes: number
  readonly readOnlyPaths: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** Socket on the host that leads out, if there is a way out. */
  readonly egressSocket?: string
}

export interface Command {
  readonly program: string
  readonly args: readonly string[]
}

/** The first `name` on PATH or in the usual places. */
export function findProgram(name: string, searchPath: string | undefined): string | undefined {
  const folders = [...(searchPath ?? '').split(path.delimiter), '/usr/bin', '/bin', '/usr/sbin', '/usr/local/bin']
  return folders
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** A folder of the machine, read-only at the same place; where it is a link, as `/bin` mostly is, the same link. */
function shared(place: string): readonly string[] {
  if (!existsSync(place)) return []
  const isLink = lstatSync(place).isSymbolicLink()
  return isLink && SYSTEM_PATHS.includes(place)
    ? ['--symlink', readlinkSync(place), place]
    : ['--ro-bind', realpathSync(place), place]
}

/** The command that runs `command` in a sandbox of namespaces. Node inside is the command's program when it is `node`. */
export function bubblewrapCommand(options: BubblewrapOptions, command: Command): Command {
  const { bwrap, diskLimitBytes, readOnlyPaths, environment, egressSocket } = options
  const node = realpathSync(options.node)
  const isShared = node.startsWith('/usr/') || readOnlyPaths.some((place) => node.startsWith(`${place}/`))
  const inside = isShared ? node : path.posix.join(NODE_FOLDER, path.basename(node))
  const variables: Record<string, string> = {
    PATH: `${path.posix.dirname(inside)}:/usr/local/bin:/usr/bin:/bin`,
    HOME: WORKSPACE,
    TMPDIR: '/tmp',
    LANG: 'C.UTF-8'
  }
  if (egressSocket !== undefined) {
    const proxy = `http://127.0.0.1:${EGRESS_PORT}`
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY']) {
      variables[name] = proxy
      variables[name.toLowerCase()] = proxy
    }
    // Node's own fetch asks for being told to.
    Object.assign(variables, {
      NO_PROXY: '127.0.0.1,localhost',
      NODE_USE_ENV_PROXY: '1',
      SANDBOX_EGRESS: EGRESS_SOCKET
    })
  }
  const args = [
    ['--unshare-all'],
    // Its own root there, without any power: the owner of the namespace can then change mounts of the sandbox from outside.
    ['--unshare-user', '--uid', '0', '--gid', '0', '--cap-drop', 'ALL'],
    ['--die-with-parent', '--new-session', '--hostname', 'sandbox', '--clearenv'],
    ['--json-status-fd', `${STATUS_FD}`],
    SYSTEM_PATHS.flatMap(shared),
    SETTINGS_PATHS.flatMap(shared),
    readOnlyPaths.flatMap(shared),
    isShared ? [] : ['--ro-bind', node, inside],
    // Read-only: where the host is root, so is the owner of these files, and the machine's settings are a write away.
    ['--proc', '/proc', '--remount-ro', '/proc', '--dev', '/dev', '--remount-ro', '/dev'],
    egressSocket === undefined ? [] : ['--ro-bind', egressSocket, EGRESS_SOCKET],
    ['--perms', '0700', '--size', `${diskLimitBytes}`, '--tmpfs', WORKSPACE],
    ['--dir', `${WORKSPACE}/.tmp`, '--symlink', `${WORKSPACE}/.tmp`, '/tmp'],
    // What is left of the root would be a place to write without a quota, and to put libraries that are not ours.
    ['--remount-ro', '/', '--chdir', WORKSPACE],
    Object.entries({ ...variables, ...environment }).flatMap(([name, value]) => ['--setenv', name, value])
  ].flat()
  return {
    program: bwrap,
    args: [...args, '--', command.program === 'node' ? inside : command.program, ...command.args]
  }
}
