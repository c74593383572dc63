import { defineScript } from '@enablement/core/redis'
import consumeLua from './consume.lua'
import counterLua from './counter.lua'
import expiredLua from './expired.lua'
import holdLua from './hold.lua'
import readLua from './read.lua'
import restoreLua from './restore.lua'

/** Every script that counts begins with what they share. */
const counting = (lua: string): string => `${counterLua}\n${lua}`

export const consumeScript = defineScript({ name: 'metering.consume', lua: counting(consumeLua), keys: 'many' })
export const holdScript = defineScript({ name: 'metering.hold', lua: counting(holdLua), keys: 'many' })
export const readScript = defineScript({ name: 'metering.read', lua: counting(readLua), keys: 'many' })
export const expiredScript = defineScript({ name: 'metering.expired', lua: expiredLua, keys: 'many' })
export const restoreScript = defineScript({ name: 'metering.restore', lua: restoreLua, keys: 'many' })
