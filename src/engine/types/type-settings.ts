/** The settings that decide how values are read and written, as SHOW has them. */
export interface TypeSettings {
  /** 'ISO, MDY' and so on: only ISO output is native. */
  readonly dateStyle: string
  readonly timeZone: string
  readonly intervalStyle?: string
  readonly extraFloatDigits: number
  readonly byteaOutput: 'hex' | 'escape'
}

export const defaultTypeSettings: TypeSettings = {
  dateStyle: 'ISO, MDY',
  timeZone: 'UTC',
  intervalStyle: 'postgres',
  extraFloatDigits: 1,
  byteaOutput: 'hex',
}

/** Zones of the tz database that are UTC all year and print as +00. */
const utcZones = new Set([
  'utc',
  'etc/utc',
  'gmt',
  'etc/gmt',
  'uct',
  'etc/uct',
  'zulu',
  'etc/zulu',
  'universal',
  'etc/universal',
  'greenwich',
  'etc/greenwich',
  'gmt0',
  'etc/gmt0',
])

export function isUtc(timeZone: string): boolean {
  return utcZones.has(timeZone.toLowerCase())
}
