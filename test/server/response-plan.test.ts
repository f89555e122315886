import { describe, expect, it } from 'vitest'
import { bytesImage, type Image } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import type { ConditionFields } from '../../src/server/conditions.ts'
import { fileTable } from '../../src/server/files.ts'
import { planResponse, textPlan } from '../../src/server/response-plan.ts'
import { served } from './sample.ts'

const table = fileTable([
  served('/initrd', bytesImage(Buffer.from('0123456789')), 'tag'),
  served('/deep/name+with~marks', bytesImage(Buffer.from('deep'))),
  served('/empty', bytesImage(new Uint8Array(0))),
])

const plan = (target: string, fields: ConditionFields = {}, method = 'GET', hostCount: number | undefined = 1) =>
  planResponse(table, { method, target, hostCount, fields })

async function text(image: Image | undefined): Promise<string | undefined> {
  if (image === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

describe('planResponse', () => {
  it('answers a file with its size, tag and type', async () => {
    const { status, fields, content } = plan('/initrd')
    expect(status).toBe(200)
    expect(fields).toEqual({
      'Content-Type': 'application/octet-stream',
      'Content-Length': '10',
      ETag: '"tag"',
      'Accept-Ranges': 'bytes',
      'Cache-Control': 'no-cache',
    })
    expect(await text(content)).toBe('0123456789')
    expect(plan('/empty').fields['Content-Length']).toBe('0')
  })

  it('lists the files at /', async () => {
    const { status, fields, content } = plan('/')
    expect(status).toBe(200)
    expect(fields['Content-Type']).toBe('text/plain; charset=utf-8')
    expect(await text(content)).toBe('10 /initrd\n 4 /deep/name+with~marks\n 0 /empty\n')
  })

  it('answers a range', async () => {
    const { status, fields, content } = plan('/initrd', { range: 'bytes=2-4' })
    expect([status, fields['Content-Range'], fields['Content-Length'], await text(content)]).toEqual([206, 'bytes 2-4/10', '3', '234'])
    expect(fields['ETag']).toBe('"tag"')
  })

  it('tells the size when a range cannot be satisfied', () => {
    const { status, fields } = plan('/initrd', { range: 'bytes=10-' })
    expect([status, fields['Content-Range'], fields['Content-Length']]).toEqual([416, 'bytes */10', '26'])
  })

  // RFC 9110, 13.2.2: If-Match, then If-None-Match, then Range with If-Range.
  it.each([
    [200, { range: 'bytes=0-1,3-4' }],
    [206, { range: 'bytes=0-1', 'if-range': '"tag"' }],
    [200, { range: 'bytes=0-1', 'if-range': '"old"' }],
    [200, { range: 'bytes=0-1', 'if-range': 'W/"tag"' }],
    [200, { range: 'bytes=0-1', 'if-range': 'Sat, 21 Nov 2026 08:23:37 GMT' }],
    [200, { range: 'bytes=99-', 'if-range': '"old"' }],
    [416, { range: 'bytes=99-', 'if-range': '"tag"' }],
    [200, { 'if-range': '"old"' }],
    [304, { 'if-none-match': '"tag"' }],
    [304, { 'if-none-match': 'W/"tag"' }],
    [304, { 'if-none-match': '*' }],
    [304, { 'if-none-match': '"tag"', range: 'bytes=0-1' }],
    [304, { 'if-none-match': '"tag"', range: 'bytes=99-' }],
    [200, { 'if-none-match': '"old"' }],
    [206, { 'if-none-match': '"old"', range: 'bytes=0-1' }],
    [200, { 'if-match': '"tag"' }],
    [200, { 'if-match': '*' }],
    [412, { 'if-match': '"old"' }],
    [412, { 'if-match': 'W/"tag"' }],
    [412, { 'if-match': '"old"', 'if-none-match': '"tag"', range: 'bytes=0-1' }],
    [304, { 'if-match': '"tag"', 'if-none-match': '"tag"' }],
  ])('is %d for %o', (status, fields) => {
    expect(plan('/initrd', fields).status).toBe(status)
  })

  it('has no content for 304', () => {
    expect(plan('/initrd', { 'if-none-match': '*' })).toMatchObject({ content: undefined, fields: { ETag: '"tag"' } })
    expect(plan('/initrd', { 'if-none-match': '*' }).fields).not.toHaveProperty('Content-Length')
  })

  it('takes ranges for GET only', () => {
    const { status, fields } = plan('/initrd', { range: 'bytes=0-1' }, 'HEAD')
    expect([status, fields['Content-Length']]).toEqual([200, '10'])
  })

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', 'get'])('does not allow %s', (method) => {
    expect(plan('/initrd', {}, method)).toMatchObject({ status: 405, fields: { Allow: 'GET, HEAD' } })
    expect(plan('*', {}, method).status).toBe(405)
  })

  it.each([
    '/initrd',
    '/initrd?',
    '/initrd?a=b&c=/../d',
    'http://127.0.0.1:8080/initrd',
    'HTTP://user@any.where/initrd?x',
    'https://[::1]/initrd',
  ])('finds %s', (target) => {
    expect(plan(target).fields['Content-Length']).toBe('10')
  })

  it.each(['http://host', 'http://host?x', '/?x'])('takes %s as the list', (target) => {
    expect(plan(target).fields['Content-Length']).toBe(plan('/').fields['Content-Length'])
    expect(plan(target).status).toBe(200)
  })

  it.each([
    '/initrd/',
    '//initrd',
    '/./initrd',
    '/x/../initrd',
    '/../initrd',
    '/../../etc/passwd',
    '/%69nitrd',
    '/initrd%00',
    '/initrd%3F',
    '/%2e%2e/etc/passwd',
    '/..%2fetc/passwd',
    '\\initrd',
    '/INITRD',
    '/initrd#x',
    'initrd',
    'ftp://host/initrd',
    'file:///initrd',
    'http:///x/initrd',
    '*',
    '/constructor',
    '/__proto__',
    '/deep',
    '/deep/',
    '/etc/passwd',
  ])('does not find %s', (target) => {
    expect(plan(target).status).toBe(404)
  })

  it('reads targets of 8000 characters and no longer ones', () => {
    expect(plan(`/initrd?${'x'.repeat(7992)}`).status).toBe(200)
    expect(plan(`/initrd?${'x'.repeat(7993)}`).status).toBe(414)
  })

  it('wants one Host, but from HTTP/1.0', () => {
    expect(planResponse(table, { method: 'GET', target: '/initrd', hostCount: undefined, fields: {} }).status).toBe(200)
    expect(plan('/initrd', {}, 'GET', 0).status).toBe(400)
    expect(plan('/initrd', {}, 'GET', 2).status).toBe(400)
  })
})

describe('textPlan', () => {
  it('says the status in words, and when to come again', async () => {
    const { fields, content } = textPlan(503)
    expect(await text(content)).toBe('503 Service Unavailable\n')
    expect(fields).toMatchObject({ 'Content-Length': '24', 'Retry-After': '5', 'Cache-Control': 'no-cache' })
  })
})

describe('fileTable', () => {
  const usage = expect.objectContaining({ code: 'USAGE' })
  const image = bytesImage(new Uint8Array(1))

  it.each(['', '/', 'initrd', '/a/', '//a', '/a//b', '/.', '/../a', '/a/./b', '/a b', '/a%20b', '/a?b', '/a#b', '/ä', '/a\n'])(
    'refuses the path %j',
    (path) => {
      expect(() => fileTable([served(path, image)])).toThrow(usage)
    },
  )

  it.each(['', 'a b', 'a"b', 'a\r\nb', 'ä'])('refuses the tag %j', (etag) => {
    expect(() => fileTable([served('/a', image, etag)])).toThrow(usage)
  })

  it.each(['', 'text/plain\r\nX: y', ' text/plain'])('refuses the type %j', (contentType) => {
    expect(() => fileTable([{ ...served('/a', image), contentType }])).toThrow(usage)
  })

  it('refuses one path twice', () => {
    expect(() => fileTable([served('/a', image), served('/a', image)])).toThrow(usage)
  })
})
