/** One row of `nvidia-smi --query-gpu`. */
export interface GpuRow {
  readonly uuid: string
  readonly name: string
  readonly totalBytes: number | null
  readonly usedBytes: number | null
  readonly reservedBytes: number | null
  readonly utilizationRatio: number | null
  readonly mig: 'enabled' | 'disabled' | null
}

/** More than any machine holds; output of that length is not what it should be. */
const ROWS_MAX = 1_024

/**
 * Reads the rows of a query, undefined for one that cannot be. The name is asked for last, for it may hold commas; the
 * rows of an old driver lack what it is reserved and the mode of splitting.
 */
export function gpuRows(text: string, isOld: boolean): readonly (GpuRow | undefined)[] {
  return (
    text
      .split('\n')
      .map((line) => line.trim())
      // Such as "WARNING: infoROM is corrupted at gpu 0000:3B:00.0", which comes on the same stream.
      .filter((line) => line !== '' && !line.startsWith('WARNING:'))
      .slice(0, ROWS_MAX)
      .map((line) => gpuRow(line, isOld))
  )
}

function gpuRow(line: string, isOld: boolean): GpuRow | undefined {
  const cells = line.split(',').map((cell) => cell.trim())
  const [, uuid, total, used] = cells
  const [reserved, utilization, mig] = isOld ? ['', cells[5], ''] : [cells[5], cells[6], cells[7]]
  const name = cells.slice(isOld ? 6 : 8).join(', ')
  if (uuid === undefined || !/^GPU-[0-9A-Za-z-]{8,64}$/.test(uuid) || name === '') return undefined
  const percent = numberIn(utilization)
  return {
    uuid,
    name: isBracketed(name) ? '' : name,
    totalBytes: bytesIn(total),
    usedBytes: bytesIn(used),
    reservedBytes: bytesIn(reserved),
    utilizationRatio: percent === null || percent > 100 ? null : percent / 100,
    mig: mig === 'Enabled' ? 'enabled' : mig === 'Disabled' ? 'disabled' : null
  }
}

/** `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `[Insufficient Permissions]` and whatever else comes in brackets. */
const isBracketed = (cell: string): boolean => cell.startsWith('[')

/** Nine digits of MiB are a petabyte; anything but digits is not told. */
function numberIn(cell: string | undefined): number | null {
  return cell !== undefined && /^\d{1,9}$/.test(cell) ? Number(cell) : null
}

function bytesIn(cell: string | undefined): number | null {
  const mebibytes = numberIn(cell)
  return mebibytes === null ? null : mebibytes * 1_048_576
}
