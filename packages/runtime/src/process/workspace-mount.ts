import { execFile } from 'node:child_process'
import { statfsSync } from 'node:fs'
import process from 'node:process'
import { promisify } from 'node:util'
import { WORKSPACE } from './bubblewrap.ts'

const exec = promisify(execFile)

/** What the workspace takes, and may take: bytes and files. */
export interface WorkspaceUse {
  readonly usedBytes: number
  readonly usedFiles: number
}

export function workspaceUse(folder: string): WorkspaceUse {
  const { bsize, blocks, bfree, files, ffree } = statfsSync(folder)
  return { usedBytes: (blocks - bfree) * bsize, usedFiles: files - ffree }
}

/** Changes the mounts of one sandbox, from outside it. */
export interface WorkspaceMount {
  setReadOnly(readOnly: boolean): Promise<'remount' | 'quota-freeze'>
  /** No namespaces of users inside: they give powers over copies of everything, and the kernel more to get wrong. */
  forbidUserNamespaces(): Promise<void>
}

/** A tmpfs has no smaller size: none at all would mean "without end". */
const PAGE_BYTES = 4_096

/** `guestPid` is a process inside, `folder` the workspace as the host sees it. */
export function workspaceMount(options: {
  readonly nsenter: string
  readonly guestPid: number
  readonly folder: string
  readonly diskLimitBytes: number
}): WorkspaceMount {
  const { nsenter, guestPid, folder, diskLimitBytes } = options
  const isRoot = process.getuid?.() === 0
  // Who is not root is the owner of the sandbox's namespace of users, and as such root in it.
  const users = ['--user', '--preserve-credentials']
  const enter = async (namespaces: readonly string[], command: readonly string[]): Promise<void> => {
    await exec(nsenter, ['--target', `${guestPid}`, ...namespaces, '--', ...command], { env: {}, timeout: 5_000 })
  }
  // From here on a mount inherits nothing: what it was mounted with is said again.
  const remount = (how: string): Promise<void> =>
    enter(
      [...(isRoot ? [] : users), '--mount'],
      ['/usr/bin/mount', '-n', '-o', `remount,nosuid,nodev,${how}`, WORKSPACE]
    )
  const INODES_UNLIMITED = 0
  let files = INODES_UNLIMITED
  try {
    files = statfsSync(folder).files
  } catch {}

  return {
    async setReadOnly(readOnly) {
      if (!readOnly) {
        await remount(`rw,size=${diskLimitBytes},nr_inodes=${files}`)
        return 'remount'
      }
      try {
        await remount('ro')
        return 'remount'
      } catch {
        // Somebody has a file open for writing: what is there can then be written to, and nothing be added.
        const { usedBytes, usedFiles } = workspaceUse(folder)
        await remount(`rw,size=${Math.max(PAGE_BYTES, usedBytes)},nr_inodes=${Math.max(1, usedFiles)}`)
        return 'quota-freeze'
      }
    },
    async forbidUserNamespaces() {
      await enter(users, ['/bin/sh', '-c', 'echo 0 >/proc/sys/user/max_user_namespaces'])
    }
  }
}
