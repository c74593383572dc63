import type { JournalDisk, JournalFile, JournalFolder } from '@enablement/core/journal'
import { type SimulatedDisk, simulatedDisk } from '@enablement/core/testing'

/** A disk over another one, with some of a folder's and a file's calls replaced. */
export function wrapped(
  disk: JournalDisk,
  changes: {
    readonly folder?: (folder: JournalFolder, path: string) => Partial<JournalFolder>
    readonly file?: (file: JournalFile, name: string) => Partial<JournalFile>
  }
): JournalDisk {
  const { folder: inFolder = () => ({}), file: inFile = () => ({}) } = changes
  return {
    async openFolder(path) {
      const folder = await disk.openFolder(path)
      const over = (name: string, file: JournalFile): JournalFile => ({ ...file, ...inFile(file, name) })
      return {
        ...folder,
        open: async (name, access) => over(name, await folder.open(name, access)),
        create: async (name) => over(name, await folder.create(name)),
        ...inFolder(folder, path)
      }
    }
  }
}

/** Disks that break the contract, each in one way. */
export const brokenJournalDisks: Readonly<Record<string, (disk: SimulatedDisk) => JournalDisk>> = {
  'says that it synced a file and did not': (disk) => wrapped(disk, { file: () => ({ sync: async () => {} }) }),
  'says that it synced data and did not': (disk) => wrapped(disk, { file: () => ({ syncData: async () => {} }) }),
  'syncs a file once and never again': (disk) =>
    wrapped(disk, {
      file(file) {
        let synced = false
        return {
          async sync() {
            if (!synced) await file.sync()
            synced = true
          }
        }
      }
    }),
  'loses the entries of a folder that was synced': (disk) =>
    wrapped(disk, { folder: () => ({ sync: async () => {} }) }),
  'tears a rename in two': (disk) =>
    wrapped(disk, {
      folder: (folder) => ({
        async rename(from, to) {
          const file = await folder.open(from, 'read')
          const bytes = new Uint8Array(await file.lengthBytes())
          await file.read(bytes, 0)
          await (await folder.create(to)).write(bytes, 0)
          await folder.remove(from)
        }
      })
    }),
  'refuses to rename over a file': (disk) =>
    wrapped(disk, {
      folder: (folder) => ({
        async rename(from, to) {
          if ((await folder.names()).includes(to)) throw Object.assign(new Error('exists'), { code: 'EEXIST' })
          await folder.rename(from, to)
        }
      })
    }),
  'brings removed files back': (disk) =>
    wrapped(disk, {
      folder(folder) {
        let removed = false
        return {
          async remove(name) {
            removed = true
            await folder.remove(name)
          },
          async sync() {
            if (!removed) await folder.sync()
          }
        }
      }
    }),
  'writes at the end, wherever it is told to': (disk) =>
    wrapped(disk, { file: (file) => ({ write: async (bytes) => file.write(bytes, await file.lengthBytes()) }) }),
  'says that it read what is beyond the end': (disk) =>
    wrapped(disk, {
      file: (file) => ({
        async read(target, at) {
          await file.read(target, at)
          return target.length
        }
      })
    }),
  'does not truncate': (disk) => wrapped(disk, { file: () => ({ truncate: async () => {} }) }),
  'opens what is not there, empty': (disk) =>
    wrapped(disk, {
      folder: (folder) => ({
        open: async (name, access) =>
          (await folder.names()).includes(name) ? folder.open(name, access) : folder.create(name)
      })
    }),
  'keeps the bytes of a file that is created again': (disk) =>
    wrapped(disk, {
      folder: (folder) => ({
        create: async (name) =>
          (await folder.names()).includes(name) ? folder.open(name, 'update') : folder.create(name)
      })
    }),
  'writes the memory of its caller when it is synced, and not when it is told': (disk) =>
    wrapped(disk, {
      file(file) {
        const held: [Uint8Array, number][] = []
        const flush = async (): Promise<void> => {
          for (const [bytes, at] of held.splice(0)) await file.write(bytes, at)
        }
        return {
          async write(bytes, at) {
            held.push([bytes, at])
            return bytes.length
          },
          async sync() {
            await flush()
            await file.sync()
          },
          async syncData() {
            await flush()
            await file.syncData()
          },
          async close() {
            await flush()
            await file.close()
          }
        }
      }
    }),
  'lets anybody in': (disk) => ({
    async openFolder(path) {
      const folder = await disk.openFolder(path)
      await folder.close()
      return { ...folder, close: async () => {} }
    }
  }),
  'lets go of a folder when somebody else asks for it': (disk) => {
    let open: JournalFolder | undefined
    return {
      async openFolder(path) {
        try {
          open = await disk.openFolder(path)
          return open
        } catch (error) {
          await open?.close()
          throw error
        }
      }
    }
  },
  'forgets a folder that is closed': (disk) =>
    wrapped(disk, {
      folder: (folder) => ({
        async close() {
          for (const name of await folder.names()) await folder.remove(name)
          await folder.close()
        }
      })
    })
}

/** A subject for the exam, on a simulated disk that `breaks`. */
export function journalDiskSubject(breaks: (disk: SimulatedDisk) => JournalDisk = (disk) => disk) {
  return async () => {
    const inner = simulatedDisk()
    return {
      disk: breaks(inner),
      path: 'exam/journal',
      powerCut: (power: Parameters<SimulatedDisk['powerCut']>[0]) => {
        inner.powerCut(power)
        return inner
      },
      [Symbol.asyncDispose]: async () => {}
    }
  }
}
