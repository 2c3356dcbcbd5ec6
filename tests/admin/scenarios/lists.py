"""What every list has: columns, sorting, pages, filters, ranges of rates."""

from urllib.parse import quote

from tests.admin.scenarios.queues import has_stats
from tests.admin.walk import Walk

V = "lists"
NAMES = [f"queue-{number:02}" for number in range(12)] + ["Alpha", "beta.one", "beta.two", "gamma/x"]


def paging(walk: Walk) -> None:
    walk.vhost(V)
    for number, name in enumerate(NAMES):
        walk.quietly("PUT", f"/queues/{V}/{quote(name, safe='')}", {"durable": number % 2 == 0})
    for query in """
        page=1 page=1&page_size=5 page=2&page_size=5 page=4&page_size=5 page=5&page_size=5 page=0 page=-1 page=x page=1&page_size=0
        page=1&page_size=500 page=1&page_size=501 page=1&page_size=x page_size=5 page= page=1&pagination=false pagination=true
        page=1&name=beta page=1&name=BETA page=1&name=nothing page=1&name= page=1&name=%5Ebeta&use_regex=true
        page=1&name=%5B&use_regex=true page=1&name=%5Ebeta&use_regex=false name=beta page=1&name=.%2A&use_regex=true&page_size=3
        page=2&page_size=3&sort=name&sort_reverse=true page=1&page_size=3&sort=durable page=1&page_size=3&use_regex=true
        page=1&name=beta%2Eone page=1&name=gamma%2Fx page=3&name=nothing
    """.split():
        walk.get(f"/queues/{V}?{query}&columns=name", until=lambda body: body)
    walk.get(
        f"/queues?page=1&page_size=2&name=%5Equeue&use_regex=true&pagination=false&vhost={V}", until=lambda body: has_stats(body["items"])
    )
    walk.get(f"/queues/{V}?page=1&page_size=2", until=lambda body: has_stats(body["items"]))
    for path in (
        "/exchanges",
        f"/exchanges/{V}",
        "/users",
        "/vhosts",
        "/bindings",
        "/connections",
        "/channels",
        "/policies",
        "/permissions",
    ):
        walk.get(f"{path}?page=1&page_size=1&columns=name")
    walk.get("/nodes?page=1")
    walk.get("/nodes?columns=name,type,running")


def columns(walk: Walk) -> None:
    walk.vhost(V)
    for number, name in enumerate(NAMES[:4]):
        walk.quietly("PUT", f"/queues/{V}/{quote(name, safe='')}", {"durable": number % 2 == 0, "arguments": {"x-max-length": 10 - number}})
    walk.get(f"/queues/{V}", until=has_stats)
    for query in """
        columns=name columns=name,messages columns= columns=nothing columns=name,arguments.x-max-length columns=messages_details.rate
        columns=name,nothing.at.all columns=message_stats.publish_details.rate columns=name%2Cvhost columns=name,,vhost
        columns=name&sort=arguments.x-max-length columns=name&sort=durable columns=name&sort=durable&sort_reverse=true columns=name&sort=
        columns=name&sort=nothing columns=name&sort=name&sort_reverse=false columns=name&sort_reverse=true columns=name&nonsense=1
        columns=name&sort=messages
    """.split():
        walk.get(f"/queues/{V}?{query}")
    walk.get(f"/queues/{V}/queue-00?columns=name,messages,messages_details.rate")
    walk.get("/overview?columns=node,object_totals.queues,queue_totals.messages", until=lambda body: body["object_totals"]["queues"] == 4)
    walk.get("/nodes/" + walk.node + "?columns=name,running,type")
    walk.get("/whoami?columns=name")
    walk.get(f"/exchanges/{V}?sort=name&sort_reverse=true&columns=name")
    walk.get(f"/exchanges/{V}?sort=&columns=name,type")


RANGES = "lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5"


def rates(walk: Walk) -> None:
    walk.vhost(V)
    with walk.connect("client", vhost=V) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        channel.publish_confirmed("amq.topic", "lost", b"1")
        channel.publish_confirmed("", "q", *[b"1"] * 20)
        assert channel.get("q") is not None

        def counted(queue: dict) -> bool:  # type: ignore[type-arg]
            details = queue["message_stats"]["publish_details"]
            return (
                queue["message_stats"]["publish"] == 20 and details["samples"][0]["sample"] == 20 and queue["messages_details"]["samples"]
            )

        walk.get(f"/queues/{V}/q?{RANGES}", until=counted)
        walk.get(f"/queues/{V}?{RANGES}", until=lambda queues: counted(queues[0]))
        walk.get(f"/queues/{V}/q?lengths_age=600&lengths_incr=60&columns=messages,messages_details")
        walk.get(
            f"/exchanges/{V}/amq.topic?{RANGES}",
            until=lambda exchange: exchange["message_stats"]["publish_in_details"]["samples"][0]["sample"] == 1,
        )
        walk.get(f"/overview?{RANGES}&data_rates_age=60&data_rates_incr=5&columns=queue_totals,message_stats")
        path = walk.path_of(wire)
        walk.get(f"/connections/{path}?data_rates_age=60&data_rates_incr=5", until=lambda found: found["recv_oct_details"]["samples"])
        walk.get(f"/channels/{path}%20(1)?{RANGES}", until=lambda found: found["message_stats"]["get_no_ack_details"]["samples"])
        walk.get(f"/nodes/{walk.node}?node_stats_age=60&node_stats_incr=5", until=lambda node: node["fd_used_details"]["samples"])
        walk.get(f"/vhosts/{V}?{RANGES}&data_rates_age=60&data_rates_incr=5", until=lambda vhost: vhost["messages_details"]["samples"])
        for query in """
            lengths_age=60 lengths_incr=5 lengths_age=x&lengths_incr=5 lengths_age=60&lengths_incr=0 lengths_age=-5&lengths_incr=5
            lengths_age=5&lengths_incr=60 lengths_age=1000000&lengths_incr=1 msg_rates_age=x&msg_rates_incr=y
        """.split():
            walk.get(f"/queues/{V}/q?{query}&columns=name")
        wire.close()
