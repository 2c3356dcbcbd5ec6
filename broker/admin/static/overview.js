// The overview page: asks the HTTP API every few seconds, with what the browser logged in with.
"use strict";

const REFRESH_MS = 3000;
// An answer that took long is followed by a rest of so many times as long.
const REST = 10;
const TYPING_MS = 200;
const ROWS = 100;
const ATTENTION = 8;
const NAMED = 3;
// From here on something is worth a look.
const UNACKED_MANY = 1000;
const NEARLY_FULL = 0.9;
const GROWING_PER_SECOND = 1;
const DEAD_LETTERS = /dead|dlq|dlx|error|fail|poison|parking/i;

// Without the user and password that the page's own address may have: fetch refuses such addresses.
const HERE = location.origin + location.pathname;

const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat();
const rate = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
// Without statistics (management.disable_stats) figures are missing.
const figure = (value, show = count.format) => (value === undefined ? "–" : show(value));
const rateOf = (facts, name) => facts?.[`${name}_details`]?.rate ?? 0;

// --- asking ---------------------------------------------------------------------------------------------------------

async function ask(path, query, signal) {
  const url = new URL(`${HERE}api/${path}`);
  for (const [name, value] of Object.entries(query || {})) url.searchParams.set(name, value);
  const answer = await fetch(url, { headers: { Accept: "application/json" }, signal });
  if (answer.status === 401) throw new Error("the login is refused; load the page again");
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; number >= 1000 && unit < units.length - 1; unit += 1) number /= 1000;
  return `${number.toFixed(number < 10 && unit ? 1 : 0)} ${units[unit]}`;
}

function duration(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

// --- showing: what is there already is kept, so that nothing jumps and what is selected stays so --------------------

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function resize(parent, length, make) {
  while (parent.children.length > length) parent.lastElementChild.remove();
  while (parent.children.length < length) parent.append(make());
}

function boxes(id, figures) {
  const list = byId(id);
  resize(list, figures.length, () => {
    const box = element("div");
    box.append(element("dt"), element("dd"));
    return box;
  });
  figures.forEach(([name, value, className], position) => {
    const box = list.children[position];
    write(box.firstElementChild, name);
    write(box.lastElementChild, value);
    box.className = className || "";
  });
}

class Table {
  // `columns`: heading, column of the API, class, and what a cell shows of an item.
  constructor(id, columns, sort, reverse) {
    this.columns = columns;
    this.sort = sort;
    this.reverse = reverse;
    const table = byId(id);
    this.head = table.createTHead().insertRow();
    this.body = table.createTBody();
    for (const [heading, column, className] of columns) {
      const cell = element("th", undefined, className);
      const button = element("button", heading);
      cell.scope = "col";
      button.type = "button";
      button.addEventListener("click", () => this.sortBy(column, className.includes("number")));
      cell.append(button);
      this.head.append(cell);
    }
    this.mark();
  }

  // The first click on a number brings the highest to the top, on a text the first; the next one turns it round.
  sortBy(column, isNumber) {
    this.reverse = this.sort === column ? !this.reverse : isNumber;
    this.sort = column;
    this.mark();
    refresh();
  }

  mark() {
    this.columns.forEach(([, column], position) => {
      const cell = this.head.children[position];
      if (column === this.sort) cell.setAttribute("aria-sort", this.reverse ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  }

  query() {
    return { page: 1, page_size: ROWS, sort: this.sort, sort_reverse: this.reverse };
  }

  show(items) {
    if (!items.length) {
      const cell = element("td", "none", "empty");
      const row = element("tr");
      cell.colSpan = this.columns.length;
      row.append(cell);
      this.body.replaceChildren(row);
      return;
    }
    if (this.body.querySelector(".empty")) this.body.replaceChildren();
    resize(this.body, items.length, () => {
      const row = element("tr");
      row.append(...this.columns.map(([, , className]) => element("td", undefined, className)));
      return row;
    });
    items.forEach((item, position) => {
      const cells = this.body.rows[position].cells;
      this.columns.forEach(([, , , text], column) => write(cells[column], text(item)));
    });
  }
}

const queues = new Table("queues", [
  ["Name", "name", "name", (queue) => queue.name],
  ["Virtual host", "vhost", "name wide", (queue) => queue.vhost],
  ["Type", "type", "wide", (queue) => queue.type],
  ["Ready", "messages_ready", "number", (queue) => figure(queue.messages_ready)],
  ["Unacked", "messages_unacknowledged", "number", (queue) => figure(queue.messages_unacknowledged)],
  ["Consumers", "consumers", "number", (queue) => figure(queue.consumers)],
  ["In/s", "message_stats.publish_details.rate", "number", (queue) => rate.format(rateOf(queue.message_stats, "publish"))],
  ["Out/s", "message_stats.deliver_get_details.rate", "number", (queue) => rate.format(rateOf(queue.message_stats, "deliver_get"))],
  ["Policy", "policy", "text wide", (queue) => queue.policy || ""],
], "messages_ready", true);

const connections = new Table("connections", [
  ["Peer", "peer_host", "", (each) => `${each.peer_host}:${each.peer_port}`],
  ["Client", "user_provided_name", "text", (each) => each.user_provided_name || each.client_properties.product || ""],
  ["User", "user", "name", (each) => each.user],
  ["Virtual host", "vhost", "name wide", (each) => each.vhost],
  ["State", "state", "", (each) => each.state],
  ["Channels", "channels", "number", (each) => count.format(each.channels)],
  ["From it/s", "recv_oct_details.rate", "number", (each) => bytes(rateOf(each, "recv_oct"))],
  ["To it/s", "send_oct_details.rate", "number", (each) => bytes(rateOf(each, "send_oct"))],
], "state", false);

function showTotals(overview) {
  const { queue_totals: totals = {}, object_totals: objects, message_stats: stats } = overview;
  boxes("totals", [
    ["Ready", figure(totals.messages_ready)],
    ["Unacked", figure(totals.messages_unacknowledged)],
    ["Published/s", rate.format(rateOf(stats, "publish"))],
    ["Delivered/s", rate.format(rateOf(stats, "deliver_get"))],
    ["Acked/s", rate.format(rateOf(stats, "ack"))],
    ["Queues", figure(objects.queues)],
    ["Consumers", figure(objects.consumers)],
    ["Connections", figure(objects.connections)],
    ["Channels", figure(objects.channels)],
  ]);
}

function showNode(node) {
  byId("node").hidden = !node;
  if (!node) return;
  const high = (is) => (is ? "high" : "");
  boxes("resources", [
    ["Memory", figure(node.mem_used, (used) => `${bytes(used)} (${share.format(used / node.mem_limit)})`), high(node.mem_alarm)],
    ["Disk free", figure(node.disk_free, bytes), high(node.disk_free_alarm)],
    ["Files", `${figure(node.fd_used)} of ${count.format(node.fd_total)}`, high(nearlyAllFiles(node))],
    ["Up for", duration(node.uptime)],
  ]);
}

function showListeners(listeners) {
  const texts = listeners.map((each) => `${each.protocol} on ${each.ip_address}, port ${each.port}`);
  resize(byId("listeners"), texts.length, () => element("li"));
  texts.forEach((text, position) => write(byId("listeners").children[position], text));
}

// --- what needs attention -------------------------------------------------------------------------------------------

// The limit that a queue lives by, of its own and of its policies'.
function limit(queue, name) {
  const found = [queue.arguments[`x-${name}`], queue.effective_policy_definition?.[name]].filter(Number.isInteger);
  return found.length ? Math.min(...found) : Infinity;
}

// What is wrong with one queue: how bad that is, and what it is called. The worst comes first.
function complaint(queue) {
  const { messages_ready: ready, messages_unacknowledged: unacked, consumers } = queue;
  const growth = rateOf(queue, "messages");
  const grows = growth >= GROWING_PER_SECOND ? `, ${rate.format(growth)} more each second` : "";
  const used = Math.max(ready / limit(queue, "max-length"), queue.message_bytes_ready / limit(queue, "max-length-bytes"));
  if (ready && used >= NEARLY_FULL) return [3, `full to ${share.format(Math.min(used, 1))} of its limit`];
  if (ready && DEAD_LETTERS.test(queue.name)) return [grows ? 3 : 1, `${count.format(ready)} dead letter${ready === 1 ? "" : "s"}${grows}`];
  if (ready && !consumers) return [2, `${count.format(ready)} ready and no consumer${grows}`];
  if (unacked >= UNACKED_MANY) return [1, `${count.format(unacked)} unacked`];
  if (ready && grows) return [1, `${count.format(ready)} ready${grows}`];
  return null;
}

function complaints(items, blocked, node) {
  const found = [];
  if (node?.mem_alarm) found.push({ level: 9, text: "Memory alarm: publishers are blocked" });
  if (node?.disk_free_alarm) found.push({ level: 9, text: "Disk alarm: publishers are blocked" });
  if (nearlyAllFiles(node)) found.push({ level: 9, text: "Nearly all files are open: soon connections are refused" });
  const names = blocked.map((each) => each.user_provided_name || each.name);
  if (names.length) found.push({ level: 8, text: `Blocked connections: ${some(names)}` });
  for (const queue of items) {
    const wrong = complaint(queue);
    if (wrong) found.push({ level: wrong[0], size: Math.round(Math.log2(queue.messages + 1)), queue, text: wrong[1] });
  }
  // By size only roughly: what is much alike stays where it is.
  return found.sort((one, other) => other.level - one.level || other.size - one.size || (one.queue.name < other.queue.name ? -1 : 1));
}

function nearlyAllFiles(node) {
  return node !== undefined && node.fd_used > NEARLY_FULL * node.fd_total;
}

function some(names) {
  const rest = names.length - NAMED;
  return rest > 0 ? `${names.slice(0, NAMED).join(", ")} and ${rest} more` : names.join(", ");
}

function showAttention(found) {
  const list = byId("attention");
  const shown = found.slice(0, ATTENTION);
  const rest = found.length - shown.length;
  resize(list, shown.length + (rest || !shown.length ? 1 : 0), () => {
    const item = element("li");
    const button = element("button", "", "name");
    button.type = "button";
    button.addEventListener("click", () => filterBy(button.textContent));
    item.append(button, element("span"));
    return item;
  });
  shown.forEach(({ level, queue, text }, position) => {
    const item = list.children[position];
    const [button, span] = item.children;
    button.hidden = !queue;
    write(button, queue ? queue.name : "");
    write(span, queue ? ` in ${queue.vhost}: ${text}` : text);
    item.className = level >= 3 ? "bad" : "";
  });
  if (rest || !shown.length) {
    const item = list.lastElementChild;
    item.firstElementChild.hidden = true;
    write(item.lastElementChild, rest ? `and ${count.format(rest)} more` : "nothing");
    item.className = rest ? "more" : "empty";
  }
  // It grows, but what stands below doesn't jump up and down.
  list.style.minHeight = `${list.offsetHeight}px`;
}

function filterBy(name) {
  byId("filter").value = name;
  byId("filter").focus();
  refresh();
}

// --- going on -------------------------------------------------------------------------------------------------------

const SHOWN = "vhost,name,type,messages_ready,messages_unacknowledged,consumers,message_stats,policy";
const JUDGED = "vhost,name,messages,messages_details,messages_ready,messages_unacknowledged,message_bytes_ready,consumers,arguments,"
  + "effective_policy_definition";

let running = null;
let timer = 0;

// Ask for everything and show it. Whoever comes later takes the place of who is still waiting.
async function refresh() {
  running?.abort();
  clearTimeout(timer);
  const mine = running = new AbortController();
  const begin = performance.now();
  const get = (path, query) => ask(path, query, mine.signal);
  try {
    const [overview, page, judged, peers, blocked] = await Promise.all([
      get("overview"),
      get("queues", { ...queues.query(), name: byId("filter").value, columns: SHOWN }),
      get("queues", { page: 1, page_size: ROWS, sort: "messages", sort_reverse: true, columns: JUDGED }),
      get("connections", connections.query()),
      get("connections", { page: 1, page_size: ROWS, sort: "state", columns: "name,user_provided_name,state" }),
    ]);
    const [node] = overview.listeners ? await get("nodes") : [];
    write(byId("identity"), `${overview.leveret_version} · speaks RabbitMQ ${overview.rabbitmq_version} · ${overview.cluster_name}`);
    document.title = `Leveret · ${overview.cluster_name}`;
    showTotals(overview);
    showAttention(complaints(judged.items, blocked.items.filter((each) => each.state === "blocked"), node));
    write(byId("queues-count"), shown(page));
    queues.show(page.items);
    write(byId("connections-count"), shown(peers));
    connections.show(peers.items);
    showNode(node);
    showListeners(overview.listeners || []);
    showConnection(`As of ${clock.format(new Date())}`, true);
  } catch (error) {
    if (mine.signal.aborted) return;
    // A TypeError is what fetch has to say of a connection that didn't come to be.
    showConnection(error instanceof TypeError ? "The broker can't be reached; trying again" : `No answer: ${error.message}`, false);
  }
  if (running === mine) timer = setTimeout(refreshIfSeen, Math.max(REFRESH_MS, REST * (performance.now() - begin)));
}

// Who hears the page is told when answers stop, and not of each that comes.
function showConnection(text, isFresh) {
  const line = byId("connection");
  if (isFresh) line.removeAttribute("role");
  else line.setAttribute("role", "alert");
  write(line, text);
  document.body.classList.toggle("stale", !isFresh);
}

function refreshIfSeen() {
  if (!document.hidden) refresh();
}

function shown(page) {
  return page.item_count < page.filtered_count ? `${page.item_count} of ${count.format(page.filtered_count)}` : `${page.filtered_count}`;
}

async function showLinks() {
  const { tags } = await ask("whoami");
  byId("for-administrators").hidden = !tags.includes("administrator");
  byId("for-monitoring").hidden = !tags.includes("administrator") && !tags.includes("monitoring");
}

byId("filter").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(refresh, TYPING_MS);
});
document.addEventListener("visibilitychange", refreshIfSeen);
showTotals({ object_totals: {} });
showLinks().catch(() => {});
refresh();
