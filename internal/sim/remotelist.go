package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// listFields are the members that a full record is read from.
const listFields = "id,name,isCustomerVisible,startDate,status,connectivityType,productOffering,productCharacteristic,productRelationship"

const (
	listSize = 500
	maxPages = 1_000_000
)

// listCursor is where a run over the list stands.
type listCursor struct {
	Page  int    `json:"p"`
	Total int    `json:"t"`           // products on the page before, -1 when it did not say
	Fault string `json:"f,omitempty"` // why the run is not complete
	End   bool   `json:"e,omitempty"` // nothing is left to read
}

func (c listCursor) String() string {
	b, _ := json.Marshal(c) // plain values
	return string(b)
}

// farList is a page as the platform shows it.
type farList struct {
	Entities   *[]json.RawMessage `json:"entities"`
	Statistics struct {
		PageSize int  `json:"pageSize"`
		Total    *int `json:"totalCount"`
	} `json:"statistics"`
	Links []struct {
		Type string `json:"type"`
	} `json:"links"`
	Errors   []json.RawMessage `json:"errors"`
	Warnings []json.RawMessage `json:"warnings"`
}

// List reads a page of the platform's products. A page that is only partly good
// gives its good records; the run then ends with an error, so that it removes
// nothing (HA-9).
func (r *remote) List(ctx context.Context, cursor string) (Page, error) {
	c := listCursor{Page: 1, Total: -1}
	if cursor != "" {
		if err := json.Unmarshal([]byte(cursor), &c); err != nil {
			return Page{}, &PlatformError{Class: ClassUnknown, Detail: "the cursor of the list is not valid"}
		}
	}
	if c.End {
		return Page{}, &PlatformError{Class: ClassMalformed, HTTPStatus: http.StatusOK, Detail: c.Fault}
	}
	q := url.Values{"pageSize": {strconv.Itoa(listSize)}, "pageNumber": {strconv.Itoa(c.Page)}, "sort": {"id"}, "fields": {listFields}}
	a, err := r.call(ctx, request{method: http.MethodGet, path: "/product?" + q.Encode(), limit: maxList})
	if err != nil {
		return Page{}, err
	}
	var list farList
	if err := json.Unmarshal(a.body, &list); err != nil || list.Entities == nil {
		return Page{}, r.malformed(a, fmt.Errorf("the answer is no list of products"))
	}
	if len(*list.Entities) == 0 && c.Page == 1 {
		if err := r.reallyEmpty(ctx); err != nil {
			return Page{}, err
		}
	}
	var page Page
	for _, one := range *list.Entities {
		record, reference, err := r.product(one)
		if err != nil {
			c.Fault = err.Error()
			continue
		}
		r.names.learn(record.NativeID, reference)
		page.Records = append(page.Records, record)
	}
	page.Next = c.next(&list)
	return page, nil
}

// reallyEmpty answers an error when there are products although the full list
// shows none: the platform does not understand the query.
func (r *remote) reallyEmpty(ctx context.Context) error {
	a, err := r.call(ctx, request{method: http.MethodGet, path: "/product?pageSize=1", limit: maxDocument})
	if err != nil {
		return err
	}
	var list farList
	if err := json.Unmarshal(a.body, &list); err != nil || list.Entities == nil || len(*list.Entities) > 0 {
		return r.malformed(a, fmt.Errorf("the platform shows products, but not all of them with what belongs to them"))
	}
	return nil
}

// next returns the cursor after a page, "" when the run is complete.
//
// Pages are cut from the present order (PG-8). A product that is inserted shows
// one twice, which does no harm; one that is removed hides one, so that the
// page before is read again when the total has fallen.
func (c listCursor) next(list *farList) string {
	switch {
	case len(list.Errors) > 0:
		c.Fault = "the platform says that its list has parts which failed"
	case len(list.Warnings) > 0:
		c.Fault = "the platform does not understand the query for its list"
	}
	before, count := c.Total, len(*list.Entities)
	size := list.Statistics.PageSize
	if size <= 0 || size > listSize {
		size = listSize
	}
	more := count >= size
	if c.Total = -1; list.Statistics.Total != nil {
		c.Total = *list.Statistics.Total
		more = c.Page*size < c.Total
	}
	for _, l := range list.Links {
		more = more || l.Type == "next"
	}
	switch {
	case c.Total >= 0 && c.Total < before && c.Page > 1:
		c.Page--
		return c.String()
	case more && count == 0:
		c.Fault = "a page of the list is empty, but not the last"
	case more && c.Page < maxPages:
		c.Page++
		return c.String()
	case more:
		c.Fault = "the list has too many pages"
	}
	if c.Fault == "" {
		return ""
	}
	c.End = true
	return c.String()
}
