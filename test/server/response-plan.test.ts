import { describe, expect, it } from 'vitest'
import { bytesImage, type Image } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import type { ConditionFields } from '../../src/server/conditions.ts'
import { fileTable } from '../../src/server/files.ts'
import { hostNames } from '../../src/server/hosts.ts'
import { planResponse, textPlan } from '../../src/server/response-plan.ts'
import { served } from './sample.ts'

const table = fileTable([
  served('/initrd', bytesImage(Buffer.from('0123456789')), 'tag'),
  served('/deep/name+with~marks', bytesImage(Buffer.from('deep'))),
  served('/empty', bytesImage(new Uint8Array(0))),
])

const site = { table, names: hostNames('127.0.0.1', ['Boot.Example.org', 'any.where', 'host']) }

const plan = (target: string, fields: ConditionFields = {}, method = 'GET', hosts = ['192.0.2.1:8080'], version = '1.1') =>
  planResponse(site, { method, target, version, hosts, fields })

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

  it.each(['//initrd', '///initrd', '/./initrd', '/.//./initrd', '/%69nitrd', '//%69%6Eitrd?x', 'http://any.where//initrd'])(
    'finds %s',
    (target) => {
      expect(plan(target)).toMatchObject({ status: 200, fields: plan('/initrd').fields })
    },
  )

  it.each([
    '/initrd/',
    '/x/../initrd',
    '//../initrd',
    '/../initrd',
    '/../../etc/passwd',
    '/initrd%00',
    '/initrd/.',
    '/.initrd',
    '/%2finitrd',
    '/initrd%3F',
    '/%2e%2e/etc/passwd',
    '/..%2fetc/passwd',
    '\\initrd',
    '/INITRD',
    '/initrd#x',
    'initrd',
    'ftp://host/initrd',
    'file:///initrd',
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

  const statusFor = (hosts: string[], version = '1.1', target = '/initrd') => plan(target, {}, 'GET', hosts, version).status

  it('wants one Host, but from HTTP/1.0', () => {
    expect(statusFor([], '1.0')).toBe(200)
    expect(statusFor([])).toBe(400)
    for (const version of ['1.0', '1.1']) expect(statusFor(['192.0.2.1', '192.0.2.1'], version)).toBe(400)
  })

  it.each([
    '127.0.0.1',
    '192.0.2.1:8080',
    '192.0.2.1:',
    '[::1]',
    '[2001:db8::1]:80',
    '[fe80::1%25eth0]:8080',
    'localhost',
    'LocalHost:8080',
    'localhost.:8080',
    'boot.example.org',
    'BOOT.example.ORG.:8080',
  ])('goes by %s', (host) => {
    expect(statusFor([host])).toBe(200)
    expect(statusFor([host], '1.0')).toBe(200)
    expect(statusFor(['127.0.0.1'], '1.1', `http://${host}/initrd`)).toBe(200)
  })

  it.each([
    ['attacker.example', 421],
    ['attacker.example:8080', 421],
    ['boot.example.org.attacker.example', 421],
    ['notboot.example.org', 421],
    ['example.org', 421],
    ['localhost.attacker.example', 421],
    ['127.0.0.1.attacker.example', 421],
    ['127.0.0.1.', 421],
    ['0x7f.1', 421],
    ['[::1].attacker.example', 400],
    ['[localhost]', 421],
    ['::1', 400],
    ['', 421],
    ['a b', 421],
    ['user@127.0.0.1', 421],
    ['127.0.0.1:80:80', 400],
    ['127.0.0.1/', 421],
    ['127.0.0.1, 127.0.0.1', 421],
    ['127.0.0.1\0', 421],
  ])('does not go by %j', async (host, status) => {
    for (const version of ['1.0', '1.1']) expect(statusFor([host], version)).toBe(status)
    // What the target says counts more (RFC 9112, 3.2.2); there a slash ends it.
    if (!/[/@]/.test(host)) expect(statusFor(['127.0.0.1'], '1.1', `http://${host}/initrd`)).toBe(status)
    const { content } = plan('/initrd', {}, 'GET', [host])
    expect(await text(content)).toMatch(/^4\d\d [A-Z].*\n(its Host is none|the server does not go by the name .* --host NAME)\n$/)
  })

  it('looks behind the name of a user', () => {
    expect(statusFor(['127.0.0.1'], '1.1', 'http://127.0.0.1@attacker.example/initrd')).toBe(421)
    expect(statusFor(['127.0.0.1'], '1.1', 'http://a@127.0.0.1@attacker.example/initrd')).toBe(421)
    expect(statusFor(['127.0.0.1'], '1.1', 'http://attacker.example@127.0.0.1/initrd')).toBe(200)
  })

  it.each(['0.9', '1.2', '2.0', '3.0'])('does not answer HTTP/%s', (version) => {
    expect(statusFor(['127.0.0.1'], version)).toBe(505)
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
