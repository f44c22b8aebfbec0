// Calls the service with the client that oapi-codegen generates from web/openapi.json.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"example.org/openapi-client/api"
)

func main() {
	ctx := context.Background()
	url, key, bucket := os.Args[1], os.Args[2], os.Args[3]
	withKey := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+key)
		return nil
	}
	client, err := api.NewClientWithResponses(url, api.WithRequestEditorFn(withKey))
	check(err)

	created, err := client.CreateBucketWithResponse(ctx, nil, api.CreateBucketJSONRequestBody{Name: bucket})
	check(err)
	fmt.Println("created", created.JSON201.Name)

	put, err := client.PutKeyWithBodyWithResponse(ctx, bucket, "a/b", nil, "text/plain", strings.NewReader("Ann"))
	check(err)
	fmt.Println("revision", put.JSON200.Revision)

	got, err := client.GetKeyWithResponse(ctx, bucket, "a/b", nil)
	check(err)
	fmt.Println("value", string(got.JSON200.Value))

	ifMatch := "7"
	refused, err := client.PutKeyWithBodyWithResponse(ctx, bucket, "a/b", &api.PutKeyParams{IfMatch: &ifMatch}, "text/plain", strings.NewReader("x"))
	check(err)
	fmt.Println("refused", refused.StatusCode(), refused.JSON412.Code)

	list, err := client.ListKeysWithResponse(ctx, bucket, nil)
	check(err)
	fmt.Println("keys", list.JSON200.Keys)

	deleted, err := client.DeleteKeyWithResponse(ctx, bucket, "a/b", nil)
	check(err)
	fmt.Println("deleted", deleted.StatusCode())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
