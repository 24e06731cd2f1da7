/** What a way to log in has to be: it proves who somebody is, and hands the person over. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LandfallError } from '../../../lib/errors.ts'
import type { LoginMethodName, Person } from '../login-store.ts'

/** Where a login goes on once the person is known. Only what this process sealed or checked itself. */
export interface LoginFlow {
  /** The VM host that asked; absent for a login to the login host itself. */
  readonly hostname?: string
  /** SHA-256 of the secret that the browser holds for that host, base64url; there when `hostname` is. */
  readonly challenge?: string
  /** The id of the share link that led here; it was checked. */
  readonly link?: string
  /** Another site sent the browser here: the person is asked before the login goes on to the host. */
  readonly sent?: true
}

/**
 * HTML without scripts; every text from outside has to be escaped (lib/html.ts). Its forms may lead to the login host
 * alone, redirects included (CSP `form-action 'self'`): whoever sends the browser elsewhere does it by a link, or with
 * `leave`.
 */
export interface LoginPage {
  /** Plain text. */
  readonly title: string
  /** HTML below the heading, which is the title. */
  readonly body: string
  /** 200 when absent. */
  readonly status?: number
}

export type LoginHandler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** What a method is given when the service starts. */
export interface LoginMethodContext {
  /** Of the login host: `https://auth.example.test`, with its port where that is not 443; known once requests come in. */
  origin(): string
  /**
   * Registers handlers of the login host by method; the path begins with `/<name>`. Bodies are forms: `request.body` is
   * URLSearchParams. All other methods of the path are answered with 405. A thrown LandfallError is answered as a page or a problem.
   */
  addPath(url: string, handlers: Readonly<Partial<Record<'GET' | 'POST', LoginHandler>>>): void
  /** Answers with a page. */
  sendPage(reply: FastifyReply, page: LoginPage): FastifyReply
  /** Seals `value` (JSON) for this method alone, and for `lifeMs`; text of base64url and dots, for a URL, a cookie or the store. */
  seal(value: unknown, purpose: string, lifeMs: number): string
  /** Undefined when it was altered, has expired, or was sealed for something else. */
  open(text: string | undefined, purpose: string): unknown
  /** The cookie's value; undefined when the browser sent none, or several. */
  findCookie(request: FastifyRequest, name: string): string | undefined
  /** `__Host-` cookie (`name` includes the prefix): Secure, HttpOnly, SameSite=Lax, Path=/. A life of 0 clears it. */
  setCookie(reply: FastifyReply, cookie: { name: string; value: string; lifeMs: number }): void
  /** @throws LoginError `login_origin` when a browser says that another site sent the request */
  checkSameOrigin(request: FastifyRequest): void
  /** Sends the browser to a URL: by a redirect after GET, and after a form by a page that goes on by itself. */
  leave(reply: FastifyReply, url: string): FastifyReply
  /** Before a question to another server for whoever asks. @throws LoginError `login_too_often` */
  spend(request: FastifyRequest): void
  /** The same error, with a link to where the login of `flow` can be begun again. */
  withWayBack(error: LandfallError, flow: LoginFlow): Error
  /** Makes sure of a session for `person` and goes on to where the login came from. Answers. */
  finish(reply: FastifyReply, person: Person, flow: LoginFlow): Promise<FastifyReply>
}

export interface LoginMethod {
  readonly name: LoginMethodName
  /** On the button, where there is a choice: "Continue with …". */
  readonly title: string
  /** Once, before the service takes requests. */
  add(context: LoginMethodContext): void | Promise<void>
  /**
   * Answers a browser (GET) that has to log in: with a redirect, or with a page that asks for something. `flow` has to
   * come back at `finish`: `context.seal` it. May throw a LandfallError.
   */
  begin(request: FastifyRequest, reply: FastifyReply, flow: LoginFlow): unknown
}
