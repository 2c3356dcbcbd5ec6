"""What is in a vhost: taken down, thrown away, put back, written as a document.

state            what there is at one moment; snapshots: those that are kept
standstill       a vhost in which nothing happens meanwhile
capture          from the vhost to its state; clearing, topology, restoration: and back
vanished         deliveries that clients hold and that are no more
document, document_reader    a state as JSON
pace             how much is done before others have their turn
"""
