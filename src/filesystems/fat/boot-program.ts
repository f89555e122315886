/**
 * What a BIOS runs when it has to boot a volume that has no boot code: a 16-bit program that prints
 * a message through interrupt 10h, waits for a key (16h) and lets the BIOS go on (19h). It finds its
 * message by its own address, so that it runs wherever it stands in the sector.
 */
import { ascii } from '../../bytes/text.ts'

const MESSAGE = 'This disk cannot be booted by a BIOS: boot it by UEFI, or remove it.\r\nPress a key to go on ...\r\n'

const PROGRAM = Uint8Array.of(
  ...[0x0e, 0x1f], // push cs; pop ds
  ...[0xe8, 0x00, 0x00], // call the next instruction: its address is on the stack
  ...[0x5e], // pop si
  ...[0x83, 0xc6, 0x1b], // add si, from there to the message
  ...[0xfc], // cld
  ...[0xac], // next: lodsb
  ...[0x84, 0xc0], // test al, al
  ...[0x74, 0x09], // jz done
  ...[0xb4, 0x0e], // mov ah, 0Eh: teletype
  ...[0xbb, 0x07, 0x00], // mov bx, 7: page 0, grey
  ...[0xcd, 0x10], // int 10h
  ...[0xeb, 0xf2], // jmp next
  ...[0x31, 0xc0], // done: xor ax, ax
  ...[0xcd, 0x16], // int 16h: wait for a key
  ...[0xcd, 0x19], // int 19h: boot from the next disk
  ...[0xeb, 0xfe], // jmp here
)

/** The program and its message, which a zero byte ends; at most 400 bytes. */
export function messageProgram(): Uint8Array {
  const bytes = new Uint8Array(PROGRAM.length + MESSAGE.length + 1)
  bytes.set(PROGRAM)
  bytes.set(ascii(MESSAGE, 'boot message'), PROGRAM.length)
  return bytes
}
