// SPDX-License-Identifier: Apache-2.0
// Shows status.json. What comes from a certificate or a request is text, and is only ever set as text.
'use strict';

const kinds = { person: 'A person', agent: 'Agent', guest: 'Guest', impostor: 'Impostor' };
const answers = { 200: 'served', 204: 'served', 304: 'not changed', 403: 'refused', 404: 'no such page', 429: 'too many requests' };
const at = (id) => document.getElementById(id);

function element(name, text, style) {
    const made = document.createElement(name);
    made.textContent = text;
    if (style) made.className = style;
    return made;
}

function row(each) {
    const made = document.createElement('tr');
    const kind = Object.hasOwn(kinds, each.visitor) ? each.visitor : 'person';
    const who = element('td', '', 'who ' + kind);
    who.append(element('b', kinds[kind]));
    const more = { agent: each.subject, impostor: each.verify.replace(/^FAILED:/, ''), guest: 'no certificate' }[kind];
    if (more) who.append(element('span', more + (each.resumed === '1' ? ' (resumed)' : '')));
    made.append(element('td', new Date(each.time).toLocaleTimeString()), who, element('td', each.path, 'path'),
        element('td', (answers[each.status] ?? each.status) + (each.requests > 1 ? ', ' + each.requests + ' requests' : '')));
    return made;
}

function show(status) {
    let requests = 0, limited = 0;
    for (const kind of Object.keys(kinds)) {
        at(kind).textContent = status.counts[kind].connections;
        requests += status.counts[kind].requests;
        limited += status.counts[kind].limited;
    }
    at('requests').textContent = `${requests} requests in all; ${limited} answered "too many requests".`;
    at('recent').replaceChildren(...status.recent.map(row));
    at('nobody').hidden = status.recent.length > 0;
    at('state').textContent = 'Connections since the start, by what became of the flag. Renewed every two seconds.';
}

const counters = {
    handshakes: 'All', handshakes_offered: 'Offered the flag', handshakes_asked: 'Asked for a certificate',
    handshakes_verified: 'Verified', handshakes_resumed: 'Of these, resumed', handshakes_refused: 'Refused by an alert',
    verify_errors: 'Not verified',
};

// Prometheus' text format: reqauth_NAME_total{server="…",error="…"} 12
function count(text) {
    const rows = [];
    for (const [, name, labels, value] of text.matchAll(/^reqauth_(\w+)_total(\{.*\})? (\d+)$/gm)) {
        if (!Object.hasOwn(counters, name)) continue;
        const why = /error="([^"]*)"/.exec(labels ?? '');
        const made = document.createElement('tr');
        made.append(element('td', counters[name] + (why ? ': ' + why[1] : '')), element('td', value));
        rows.push(made);
    }
    at('counters').replaceChildren(...rows);
}

async function renew() {
    try {
        const answer = await fetch('/live/status.json', { cache: 'no-store' });
        if (!answer.ok) throw new Error(`the server says ${answer.status}`);
        show(await answer.json());
        const counted = await fetch('/live/metrics', { cache: 'no-store' });
        if (counted.ok) count(await counted.text());
    } catch (error) {
        at('state').textContent = `The numbers could not be had (${error.message}), and may be old. Trying again.`;
    }
    setTimeout(renew, 2000);
}

renew();
