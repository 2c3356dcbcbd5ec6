// The overview page: asks the HTTP API every few seconds, with what the browser logged in with.
"use strict";

const REFRESH_MS = 3000;
const ROWS = 100;
const QUEUE_COLUMNS = "vhost,name,type,messages_ready,messages_unacknowledged,consumers,message_stats,policy,state";

// Without the user and password that the page's own address may have: fetch refuses such addresses.
const HERE = location.origin + location.pathname;

const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat();
const rate = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const rateOf = (facts, name) => (facts && facts[`${name}_details`] ? facts[`${name}_details`].rate : 0);

async function ask(path) {
  const answer = await fetch(`${HERE}api/${path}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

function fill(parent, children) {
  parent.replaceChildren(...children);
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(cells) {
  const made = document.createElement("tr");
  for (const cell of cells) {
    made.append(typeof cell === "number" ? element("td", rate.format(cell), "number") : element("td", cell === null ? "" : cell));
  }
  return made;
}

function rows(table, items, columns) {
  const body = byId(table).tBodies[0];
  if (items.length) return fill(body, items.map(row));
  const made = document.createElement("tr");
  const cell = element("td", "none", "empty");
  cell.colSpan = columns;
  made.append(cell);
  fill(body, [made]);
}

function showTotals(overview) {
  const totals = overview.queue_totals;
  const objects = overview.object_totals;
  const stats = overview.message_stats;
  const figures = [
    ["Ready", count.format(totals.messages_ready || 0)],
    ["Unacked", count.format(totals.messages_unacknowledged || 0)],
    ["Published/s", rate.format(rateOf(stats, "publish"))],
    ["Delivered/s", rate.format(rateOf(stats, "deliver_get"))],
    ["Acked/s", rate.format(rateOf(stats, "ack"))],
    ["Queues", count.format(objects.queues)],
    ["Connections", count.format(objects.connections)],
    ["Channels", count.format(objects.channels)],
    ["Consumers", count.format(objects.consumers)],
  ];
  fill(byId("totals"), figures.map(([name, value]) => {
    const box = document.createElement("div");
    box.append(element("dt", name), element("dd", value));
    return box;
  }));
}

function showAttention(queues) {
  const found = [];
  for (const queue of queues) {
    const name = `${queue.name} (${queue.vhost})`;
    if (queue.messages_ready && !queue.consumers) found.push(`${name}: ${count.format(queue.messages_ready)} messages and no consumer`);
    else if (queue.messages_unacknowledged > 1000) found.push(`${name}: ${count.format(queue.messages_unacknowledged)} messages unacked`);
  }
  fill(byId("attention"), found.length ? found.slice(0, 10).map((text) => element("li", text)) : [element("li", "nothing", "empty")]);
}

function showNodes(nodes) {
  const alarms = [];
  for (const node of nodes) {
    if (node.mem_alarm) alarms.push("Memory alarm: publishers are blocked");
    if (node.disk_free_alarm) alarms.push("Disk alarm: publishers are blocked");
  }
  byId("alarms").hidden = !alarms.length;
  fill(byId("alarms"), alarms.map((text) => element("li", text)));
}

async function refresh() {
  const name = encodeURIComponent(byId("filter").value);
  try {
    const [overview, queues, connections] = await Promise.all([
      ask("overview"),
      ask(`queues?page=1&page_size=${ROWS}&name=${name}&sort=messages&sort_reverse=true&columns=${QUEUE_COLUMNS}`),
      ask(`connections?page=1&page_size=${ROWS}`),
    ]);
    byId("identity").textContent = `${overview.leveret_version} · speaks RabbitMQ ${overview.rabbitmq_version} · ${overview.cluster_name}`;
    showTotals(overview);
    showAttention(queues.items);
    byId("queues-count").textContent = shown(queues);
    rows("queues", queues.items.map((each) => [
      each.vhost, each.name, each.type, each.messages_ready, each.messages_unacknowledged, each.consumers,
      rateOf(each.message_stats, "publish"), rateOf(each.message_stats, "deliver_get"), each.policy || "",
    ]), 9);
    byId("connections-count").textContent = shown(connections);
    rows("connections", connections.items.map((each) => [
      `${each.peer_host}:${each.peer_port}`, each.user_provided_name || "", each.user, each.vhost, each.state, each.channels,
      rateOf(each, "recv_oct"), rateOf(each, "send_oct"),
    ]), 8);
    fill(byId("listeners"), (overview.listeners || []).map((each) => element("li", `${each.protocol} on ${each.ip_address}, port ${each.port}`)));
    if (overview.listeners) showNodes(await ask("nodes?columns=mem_alarm,disk_free_alarm"));
    byId("connection").textContent = "";
  } catch (error) {
    byId("connection").textContent = `No answer from the broker: ${error.message}`;
  }
}

function shown(page) {
  return page.item_count < page.filtered_count ? `${page.item_count} of ${count.format(page.filtered_count)}` : `${page.filtered_count}`;
}

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, REFRESH_MS);
}

byId("filter").addEventListener("input", refresh);
loop();
