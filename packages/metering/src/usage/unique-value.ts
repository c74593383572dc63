import { canonicalJson, type JsonObject } from '@enablement/core'
import { uniqueValueHash } from '../event/payload-hash.ts'
import type { UsageEntry } from './usage-store.ts'

/** What names the value that a `unique` rollup counts; undefined under the other rollups and for events without it. */
export function uniqueValueOf({ rollup, propertiesJson }: UsageEntry): string | undefined {
  if (rollup.rollup !== 'unique') return undefined
  const properties = JSON.parse(propertiesJson) as JsonObject
  if (!Object.hasOwn(properties, rollup.property)) return undefined
  return uniqueValueHash(rollup.property, canonicalJson(properties[rollup.property]))
}
