package store

import (
	"fmt"

	"example.org/keyserver/internal/law"
)

// cache holds operations and running sign orders as they were committed, for the batches of this server: only
// they use it. It is good for one length of the audit log. Since nothing changes without its event, a log
// that has not grown says that nothing has changed, and one that has says which operations have.
type cache struct {
	size       int64                            // of the audit log
	operations [2]map[law.OperationID]Operation // those used lately, and those used before
	bytes      int                              // of the statements of those used lately
	orders     map[law.OrderID]law.Order        // running ones
}

const (
	cacheBytes   = 2 << 20 // of statements, in each of the two generations
	cacheEntries = 1024    // operations, likewise; and sign orders
	each         = 512     // about how many bytes a key, an artifact, a claim takes
	cacheLag     = 4096    // events of others after which it is made anew
)

func (c *cache) clear(size int64) { *c = cache{size: size} }

// operation finds an operation.
func (c *cache) operation(id law.OperationID) (Operation, bool) {
	if o, known := c.operations[0][id]; known {
		return o, true
	}
	o, known := c.operations[1][id]
	if known {
		delete(c.operations[1], id)
		c.keep(o)
	}
	return o, known
}

func (c *cache) keep(o Operation) {
	if len(c.operations[0]) >= cacheEntries || c.bytes >= cacheBytes {
		c.operations[1], c.operations[0], c.bytes = c.operations[0], nil, 0
	}
	if c.operations[0] == nil {
		c.operations[0] = map[law.OperationID]Operation{}
	}
	delete(c.operations[1], o.ID)
	c.operations[0][o.ID] = o
	c.bytes += 1024 + len(o.Description) + len(o.Context) + each*(len(o.Keys)+len(o.Clients)+len(o.Artifacts)+len(o.Claims)+len(o.Approvals))
}

// keepOrder keeps a sign order for as long as it is running: then its result is awaited.
func (c *cache) keepOrder(r law.Order) {
	if r.State != law.OrderRunning {
		delete(c.orders, r.ID)
		return
	}
	if c.orders == nil || len(c.orders) >= cacheEntries {
		c.orders = map[law.OrderID]law.Order{}
	}
	r.Input.Message = nil // which is not stored
	c.orders[r.ID] = r
}

// follow drops what others have changed since, as the audit log tells.
func (c *cache) follow(q querier, size int64) error {
	switch {
	case size == c.size:
		return nil
	case size < c.size || size-c.size > cacheLag:
		c.clear(size)
		return nil
	}
	changed := map[law.OperationID]bool{}
	err := q.each(`SELECT DISTINCT operation FROM audit_events WHERE idx >= $1 AND idx < $2`, []any{c.size, size}, func(scan func(...any) error) error {
		var id law.OperationID
		err := scan(&id)
		changed[id] = true
		return err
	})
	if err != nil {
		return fmt.Errorf("reading what others have changed: %w", err)
	}
	for id := range changed {
		delete(c.operations[0], id)
		delete(c.operations[1], id)
	}
	for id, r := range c.orders {
		if changed[r.Operation] {
			delete(c.orders, id)
		}
	}
	c.size = size
	return nil
}

// committed takes over what a batch has stored.
func (c *cache) committed(p *pending, size int64) {
	for i, change := range p.journal {
		switch {
		case change.certificate != nil:
		case change.order != nil:
			c.keepOrder(*change.order)
		case p.latest[change.operation.ID] == i:
			c.keep(*change.operation)
		}
	}
	c.size = size
}
