import { z } from 'zod'
import type { Absence, Approver } from './approver-directory.ts'
import { identitySchema, keySchema } from './identity.ts'

/** Of one approver: more than anyone has, few enough for a record. */
const CHANNELS_MAX = 16
const ADDRESSES_MAX = 8
const ROLES_MAX = 64
const ABSENCES_MAX = 100

/** As long as the URLs that all software takes. */
const ADDRESS_LENGTH_MAX = 2_048

/** No line breaks nor other controls: an address ends up in the header of a message. */
const addressSchema = z
  .string()
  .min(1)
  .max(ADDRESS_LENGTH_MAX)
  .regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u, 'must be printable')

const absenceSchema: z.ZodType<Absence> = z
  .strictObject({ from: z.number(), until: z.number(), delegate: identitySchema.exactOptional() })
  .refine(({ from, until }) => from < until, { path: ['until'], message: 'must be after from' })

const members = {
  id: identitySchema,
  name: keySchema,
  addresses: z
    .record(identitySchema, z.union([addressSchema, z.array(addressSchema).min(1).max(ADDRESSES_MAX)]))
    .refine((addresses) => Object.keys(addresses).length <= CHANNELS_MAX, `has more than ${CHANNELS_MAX} channels`),
  roles: z.array(identitySchema).max(ROLES_MAX).exactOptional(),
  authority: z.number().exactOptional(),
  principal: identitySchema.exactOptional(),
  away: z.array(absenceSchema).max(ABSENCES_MAX).exactOptional()
}

/** An approver as somebody wrote them down: a member that does not exist is a typo. */
export const writtenApproverSchema: z.ZodType<Approver, unknown> = z.preprocess(
  withoutUndefined,
  z.strictObject(members)
)

/** An approver as a directory gives them, who may well have members that oversight does not know. */
export const givenApproverSchema: z.ZodType<Approver, unknown> = z.preprocess(withoutUndefined, z.object(members))

/** Rows of a table become approvers whose `principal` is undefined, not absent. */
function withoutUndefined(input: unknown): unknown {
  if (typeof input !== 'object' || input === null) return input
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined))
}
