/**
 * date, time, timestamp and timestamptz in ISO form. Values are PostgreSQL's: days or microseconds since 2000-01-01
 * (UTC for timestamptz), Infinity the largest and -Infinity the smallest integer. What is not plain ISO is undefined:
 * PostgreSQL judges it.
 */
import { isUtc } from '#engine/types/type-settings.js'

const microsPerDay = 86_400_000_000n
/** 2000-01-01 as days since 1970-01-01 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE). */
const epochDays = 10_957
export const dateInfinity = 0x7fff_ffff
export const dateNegativeInfinity = -0x8000_0000
export const timestampInfinity = 0x7fff_ffff_ffff_ffffn
export const timestampNegativeInfinity = -0x8000_0000_0000_0000n

const datePattern = /^(\d{4})-(\d{2})-(\d{2})$/
const timestampPattern =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(?: ?(Z|[+-]\d{2}(?::?\d{2})?))?$/
const timePattern = /^(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?$/
const spaces = /^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g

export function parseDate(text: string): number | undefined {
  const trimmed = text.replace(spaces, '')
  const infinite = parseInfinity(trimmed)
  if (infinite !== undefined) return infinite > 0 ? dateInfinity : dateNegativeInfinity
  const match = datePattern.exec(trimmed)
  return match === null ? undefined : daysOf(match)
}

export function parseTime(text: string, typmod: number): bigint | undefined {
  const match = timePattern.exec(text.replace(spaces, ''))
  return match === null ? undefined : microsOf(match, 1, typmod)
}

/** timestamp without time zone: an offset in the text is ignored, as PostgreSQL does. */
export function parseTimestamp(text: string, typmod: number): bigint | undefined {
  return parseMoment(text, typmod, undefined)
}

/** @param timeZone decides texts without an offset: UTC, or else undefined. */
export function parseTimestampTz(
  text: string,
  typmod: number,
  timeZone: string,
): bigint | undefined {
  return parseMoment(text, typmod, timeZone)
}

function parseMoment(
  text: string,
  typmod: number,
  timeZone: string | undefined,
): bigint | undefined {
  const trimmed = text.replace(spaces, '')
  const infinite = parseInfinity(trimmed)
  if (infinite !== undefined) return infinite > 0 ? timestampInfinity : timestampNegativeInfinity
  const dateOnly = datePattern.exec(trimmed)
  if (dateOnly !== null) {
    const days = daysOf(dateOnly)
    if (days === undefined || (timeZone !== undefined && !isUtc(timeZone))) return undefined
    return BigInt(days) * microsPerDay
  }
  const match = timestampPattern.exec(trimmed)
  if (match === null) return undefined
  const days = daysOf(match)
  const micros = microsOf(match, 4, typmod)
  const offset = offsetOf(match[8])
  if (days === undefined || micros === undefined || offset === undefined) return undefined
  const local = BigInt(days) * microsPerDay + micros
  if (timeZone === undefined) return local
  if (match[8] === undefined && !isUtc(timeZone)) return undefined
  return local - offset
}

function parseInfinity(text: string): number | undefined {
  if (/^\+?infinity$/i.test(text)) return 1
  return /^-infinity$/i.test(text) ? -1 : undefined
}

function daysOf(match: RegExpExecArray): number | undefined {
  const year = Number(match[1])
  const month = Number(match[2])
  const day = Number(match[3])
  if (year < 1 || month < 1 || month > 12 || day < 1) return undefined
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const monthDays = month === 2 ? (leap ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31
  return day > monthDays ? undefined : daysFromCivil(year, month, day)
}

function microsOf(match: RegExpExecArray, at: number, typmod: number): bigint | undefined {
  const hours = Number(match[at])
  const minutes = Number(match[at + 1])
  const seconds = Number(match[at + 2] ?? 0)
  const fraction = match[at + 3] ?? ''
  if (hours > 23 || minutes > 59 || seconds > 59) return undefined
  // timestamp(p) rounds: only what needs no rounding is taken here.
  if (typmod >= 0 && fraction.length > typmod) return undefined
  const micros = Number(fraction.padEnd(6, '0'))
  return BigInt(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

function offsetOf(text: string | undefined): bigint | undefined {
  if (text === undefined || text === 'Z') return 0n
  const hours = Number(text.slice(1, 3))
  const minutes = Number(text.slice(3).replace(':', '') || '0')
  // MAX_TZDISP_HOUR is 15.
  if (hours > 15 || minutes > 59) return undefined
  const micros = BigInt(hours * 60 + minutes) * 60_000_000n
  return text.startsWith('-') ? -micros : micros
}

export function formatDate(days: number): string {
  if (days === dateInfinity) return 'infinity'
  if (days === dateNegativeInfinity) return '-infinity'
  const { text, beforeChrist } = dateText(days)
  return beforeChrist ? `${text} BC` : text
}

export function formatTime(micros: bigint): string {
  return timeText(micros)
}

/** @param zone '' or '+00' */
export function formatTimestamp(micros: bigint, zone: '' | '+00'): string {
  if (micros === timestampInfinity) return 'infinity'
  if (micros === timestampNegativeInfinity) return '-infinity'
  let days = micros / microsPerDay
  if (micros % microsPerDay < 0n) days -= 1n
  const { text, beforeChrist } = dateText(Number(days))
  const moment = `${text} ${timeText(micros - days * microsPerDay)}${zone}`
  return beforeChrist ? `${moment} BC` : moment
}

function timeText(micros: bigint): string {
  const whole = Number(micros)
  const seconds = Math.floor(whole / 1_000_000)
  const fraction = whole % 1_000_000
  const text = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return fraction === 0 ? text : `${text}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`
}

function dateText(days: number): { text: string; beforeChrist: boolean } {
  const { year, month, day } = civilFromDays(days)
  const shown = year > 0 ? year : 1 - year
  return {
    text: `${String(shown).padStart(4, '0')}-${two(month)}-${two(day)}`,
    beforeChrist: year <= 0,
  }
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value)
}

/** Howard Hinnant, chrono-compatible low-level date algorithms: proleptic Gregorian, any year. */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468 - epochDays
}

function civilFromDays(days: number): { year: number; month: number; day: number } {
  const z = days + epochDays + 719_468
  const era = Math.floor(z / 146_097)
  const dayOfEra = z - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  )
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shifted = Math.floor((5 * dayOfYear + 2) / 153)
  const month = shifted < 10 ? shifted + 3 : shifted - 9
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1,
  }
}
