/** Where a pool is read from: a whole image file or a part of one. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

export interface Device {
  readonly size: number
  read(at: number, length: number): Buffer
  close(): void
}

export interface DevicePart {
  /** Bytes in front of the device. */
  readonly start?: number
  /** Without it the device goes up to the end of the file. */
  readonly size?: number
}

export function fileDevice(path: string, { start = 0, size }: DevicePart = {}): Device {
  const fd = openSync(path, 'r')
  return {
    size: size ?? fstatSync(fd).size - start,
    read(at, length) {
      const bytes = Buffer.alloc(length)
      const count = readSync(fd, bytes, 0, length, start + at)
      if (count !== length) throw new Error(`${path}: ${count} of ${length} bytes at ${start + at}`)
      return bytes
    },
    close: () => closeSync(fd),
  }
}

/** 64 bits that must fit a number. */
export function number64(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
  if (!Number.isSafeInteger(value)) throw new Error(`${value.toString(16)} at ${at} is too large`)
  return value
}

/** A record of 64-bit numbers by the names of its fields, which `layout` places. */
export function numbersOf<T extends Readonly<Record<string, number>>>(bytes: Buffer, layout: T): { readonly [K in keyof T]: number } {
  return Object.fromEntries(Object.entries(layout).map(([name, at]) => [name, number64(bytes, at)])) as { readonly [K in keyof T]: number }
}

const ZEROS = Buffer.alloc(256 << 10)

export function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const length = Math.min(ZEROS.length, bytes.length - at)
    if (bytes.compare(ZEROS, 0, length, at, at + length) !== 0) return false
  }
  return true
}
